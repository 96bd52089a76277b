// Command gateway is Caddy with what this cluster uses of it, and four things of its own: who may enter
// (members.go), where a service answers (tasks.go), measurements that carry the node's name (metrics.go), and
// certificates that are renewed in place (below). Nothing is written, and nobody is asked for certificates.
package main

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/encode"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/encode/gzip"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	_ "github.com/caddyserver/caddy/v2/modules/caddytls"
)

const (
	// Docker's own names. Provisioning replaces each by a rename.
	certificates = "/etc/docker/tls"
	look         = 5 * time.Second
	answer       = 4 * time.Second
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	switch {
	case len(arguments) == 1 && arguments[0] == "version":
		version, _ := caddy.Version()
		fmt.Println("gateway, Caddy", version)
		return nil
	case len(arguments) == 2 && arguments[0] == "health":
		return healthy(arguments[1])
	case len(arguments) == 2 && arguments[0] == "serve":
		return serve(arguments[1])
	}
	return errors.New("usage: gateway serve CADDYFILE | gateway health ADDRESS:PORT | gateway version")
}

// serve runs a Caddyfile until a signal ends the program, and again whenever a certificate is another.
//
// Caddy reads the CA of client certificates, and certificates in files, only as it loads its configuration; a
// load leaves listeners open and lets requests end. One that fails leaves the former running: between two
// renames key and certificate do not match.
func serve(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(text, map[string]any{"filename": file})
	if err != nil {
		return err
	}
	loaded := fingerprint()
	if err := caddy.Load(config, true); err != nil {
		return err
	}
	caddy.TrapSignals()
	fmt.Fprintln(os.Stderr, "gateway: serving", file)
	for range time.Tick(look) {
		now := fingerprint()
		if now == loaded {
			continue
		}
		if err := caddy.Load(config, true); err != nil {
			fmt.Fprintln(os.Stderr, "gateway: the new certificates do not go together, trying again:", err)
			continue
		}
		loaded = now
		fmt.Fprintln(os.Stderr, "gateway: serving with new certificates")
	}
	return nil
}

// fingerprint changes with the files: by what is in them, for a rename keeps the time of what it moves.
func fingerprint() [sha256.Size]byte {
	sum := sha256.New()
	for _, name := range []string{"ca.pem", "server-cert.pem", "server-key.pem"} {
		content, err := os.ReadFile(filepath.Join(folder(), name))
		fmt.Fprintln(sum, name, len(content), err != nil)
		sum.Write(content)
	}
	return [sha256.Size]byte(sum.Sum(nil))
}

// folder is where the certificates are; the Caddyfile asks the same variable.
func folder() string {
	if named := os.Getenv("TLS_FOLDER"); named != "" {
		return named
	}
	return certificates
}

// healthy asks for a page as a stranger, and is content with any answer but a server's error. Nor does it look
// at the certificate: a restart would not make an old one younger.
func healthy(address string) error {
	client := http.Client{
		Timeout:   answer,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}
	response, err := client.Get("https://" + address + "/")
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode >= http.StatusInternalServerError {
		return fmt.Errorf("answered %s", response.Status)
	}
	return nil
}
