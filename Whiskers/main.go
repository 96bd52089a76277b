// Command whiskers mails a picture of a cat once a day, from a folder or from a feed, and tells Prometheus how it goes.
//
// It is this project's example of an app of one's own: docs/your-own-service.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
	_ "time/tzdata" // the image holds this program and nothing else

	_ "golang.org/x/crypto/x509roots/fallback" // nor certificates of CAs
)

var version = "unknown" // the linker sets it, see image.toml

const listenAddress = ":8080"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, slog.New(slog.NewTextHandler(os.Stderr, nil))); err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}

// options is what the command line says.
type options struct {
	listen, state, at, zone string
	source                  source
	mailer                  mailer
	version, healthy        bool
}

func parse(arguments []string, output io.Writer) (options, error) {
	var chosen options
	flags := flag.NewFlagSet("whiskers", flag.ContinueOnError)
	flags.SetOutput(output)
	flags.BoolVar(&chosen.version, "version", false, "print the version, and end")
	flags.BoolVar(&chosen.healthy, "healthy", false, "ask the whiskers that runs here whether it is well, and end")
	flags.StringVar(&chosen.listen, "listen", listenAddress, "`address` of /metrics and /healthz")
	flags.StringVar(&chosen.state, "state", "/data/state.json", "`file` that remembers the last mail")
	flags.StringVar(&chosen.at, "at", "08:00", "when to mail, `HH:MM`")
	flags.StringVar(&chosen.zone, "time-zone", "UTC", "where it is that time, e.g. Europe/Berlin")
	flags.StringVar(&chosen.source.feed, "feed", "", "`URL` of a picture, or of an RSS or Atom feed with pictures")
	flags.StringVar(&chosen.source.folder, "folder", "/data/cats", "`folder` with pictures, where there is no feed")
	flags.StringVar(&chosen.mailer.to, "to", "", "`addresses` that the mail goes to, with commas between them")
	flags.StringVar(&chosen.mailer.from, "from", "", "`address` that it comes from")
	flags.StringVar(&chosen.mailer.smarthost, "smarthost", "", "mail server, `HOST:PORT`; 465 is TLS at once, others STARTTLS")
	flags.StringVar(&chosen.mailer.username, "username", "", "`name` to log in with; without one there is no login")
	flags.StringVar(&chosen.mailer.passwordFile, "password-file", "", "`file` with the password")
	flags.StringVar(&chosen.mailer.caFile, "ca-file", "", "PEM `file` with the mail server's CA, if it is not a public one")
	err := flags.Parse(arguments)
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unknown argument %q; whiskers -help lists what there is", flags.Arg(0))
	}
	return chosen, err
}

// run is the whole program; it ends when the context does.
func run(ctx context.Context, arguments []string, output io.Writer, log *slog.Logger) error {
	chosen, err := parse(arguments, output)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case chosen.version:
		_, err := fmt.Fprintln(output, "whiskers", version)
		return err
	case chosen.healthy:
		return askHealth(ctx, chosen.listen)
	}
	when, err := newSchedule(chosen.at, chosen.zone)
	if err != nil {
		return err
	}
	if err := chosen.mailer.check(); err != nil {
		return err
	}
	node, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("reading the hostname for the label node: %w", err)
	}
	state, err := openState(chosen.state)
	if err != nil {
		return err
	}
	daily := &daily{
		when: when, state: state, metrics: newMetrics(node), log: log,
		picture: chosen.source.picture, send: chosen.mailer.send,
	}
	listener, err := net.Listen("tcp", chosen.listen)
	if err != nil {
		return err
	}
	log.Info("whiskers", "version", version, "listen", listener.Addr().String(), "at", chosen.at,
		"time_zone", chosen.zone, "to", chosen.mailer.to, "source", chosen.source.String())
	return serve(ctx, listener, daily)
}

// serve answers Prometheus while the mails are sent; it lets a mail that is under way arrive before it ends.
func serve(ctx context.Context, listener net.Listener, daily *daily) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", daily.metrics.handler())
	mux.HandleFunc("GET /healthz", daily.healthz)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		failed <- server.Serve(listener)
	}()
	daily.run(ctx)
	server.Close()
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	daily.log.Info("stopped")
	return nil
}

// askHealth is the swarm's health check: the image has no other program that could ask.
func askHealth(ctx context.Context, listen string) error {
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort("localhost", port)+"/healthz", nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("/healthz answered %s", answer.Status)
	}
	return nil
}

// writeFile replaces a file whole or not at all, also when the power goes.
func writeFile(name string, content []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(name), ".state-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(file.Name())
		}
	}()
	_, err = file.Write(content)
	err = errors.Join(err, file.Sync(), file.Close())
	if err != nil {
		return err
	}
	return os.Rename(file.Name(), name)
}
