package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/mail"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

const user, password = "whiskers", "purr purr"

// mailServer is a real one, which knows one user and keeps what it is given.
type mailServer struct {
	address, caFile string
	mails           chan string
}

func aMailServer(t *testing.T) mailServer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	made := mailServer{listener.Addr().String(), filepath.Join(t.TempDir(), "ca.pem"), make(chan string, 10)}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(made.caFile, authority, 0o600); err != nil {
		t.Fatal(err)
	}
	server := smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &session{mails: made.mails}, nil
	}))
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	return made
}

// session is one connection's; without the right login it takes no mail.
type session struct {
	mails   chan string
	entered bool
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, name, said string) error {
		s.entered = name == user && said == password
		if !s.entered {
			return smtp.ErrAuthFailed
		}
		return nil
	}), nil
}
func (s *session) Mail(string, *smtp.MailOptions) error {
	if !s.entered {
		return smtp.ErrAuthRequired
	}
	return nil
}
func (s *session) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (s *session) Reset()                               {}
func (s *session) Logout() error                        { return nil }
func (s *session) Data(content io.Reader) error {
	text, err := io.ReadAll(content)
	s.mails <- string(text)
	return err
}

// running is a whiskers, whole, with its log line by line.
type running struct {
	lines   chan map[string]any
	stop    context.CancelFunc
	ended   chan error
	address string
}

func start(t *testing.T, arguments ...string) *running {
	t.Helper()
	read, write := io.Pipe()
	ctx, stop := context.WithCancel(t.Context())
	begun := &running{make(chan map[string]any, 100), stop, make(chan error, 1), ""}
	go func() {
		begun.ended <- run(ctx, arguments, io.Discard, slog.New(slog.NewJSONHandler(write, nil)))
		write.Close()
	}()
	go func() {
		defer close(begun.lines)
		for decoder := json.NewDecoder(read); ; {
			line := make(map[string]any)
			if decoder.Decode(&line) != nil {
				return
			}
			begun.lines <- line
		}
	}()
	begun.address, _ = begun.says(t, "whiskers")["listen"].(string)
	return begun
}

// says waits for a line of the log.
func (r *running) says(t *testing.T, message string) map[string]any {
	t.Helper()
	for line := range r.lines {
		if line["msg"] == message {
			return line
		}
	}
	t.Fatalf("it ended and never said %q: %v", message, <-r.ended)
	return nil
}

// measures is one of its metrics, as Prometheus would read it.
func (r *running) measures(t *testing.T, name string) float64 {
	t.Helper()
	answer, err := http.Get("http://" + r.address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	host, _ := os.Hostname()
	for line := range strings.Lines(string(page)) {
		if value, ok := strings.CutPrefix(line, name+`{node="`+host+`"} `); ok {
			number, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return number
		}
	}
	t.Fatalf("no %s in %s", name, page)
	return 0
}

func (r *running) ends(t *testing.T) {
	t.Helper()
	r.stop()
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
}

// arguments are those of a whiskers whose mail is due at once.
func arguments(t *testing.T, server mailServer, secret string) []string {
	t.Helper()
	folder := t.TempDir()
	cats := filepath.Join(folder, "cats")
	if err := os.Mkdir(cats, 0o700); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{filepath.Join(cats, "tom.png"): aPicture(t, 40), filepath.Join(folder, "secret"): []byte(secret + "\n")}
	for name, content := range files {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{
		"-listen", "127.0.0.1:0", "-state", filepath.Join(folder, "state.json"), "-folder", cats, "-at", "00:00",
		"-to", "Ann <ann@example.org>", "-from", "shelf@example.org", "-smarthost", server.address,
		"-username", user, "-password-file", filepath.Join(folder, "secret"), "-ca-file", server.caFile,
	}
}

func TestACatArrivesOverTLSAndWithALoginAndAfterARestartNoSecondOne(t *testing.T) {
	server := aMailServer(t)
	words := arguments(t, server, password)
	first := start(t, words...)
	first.says(t, "mailed")
	told, err := mail.ReadMessage(strings.NewReader(<-server.mails))
	if err != nil {
		t.Fatal(err)
	}
	if to := told.Header.Get("To"); to != `"Ann" <ann@example.org>` {
		t.Errorf("it goes to %s", to)
	}
	if _, err := told.Header.Date(); err != nil || told.Header.Get("Message-ID") == "" {
		t.Errorf("mail servers frown at mails like this: %v", told.Header)
	}
	if name, content := attached(t, told); name != "tom.png" || !bytes.Equal(content, aPicture(t, 40)) {
		t.Errorf("the picture is %s, %d bytes", name, len(content))
	}
	if sent := first.measures(t, "whiskers_mails_sent_total"); sent != 1 {
		t.Errorf("it counts %v mails", sent)
	}
	first.ends(t)

	second := start(t, words...)
	// The gauge is set with the first look at the clock, and a mail that is due goes out before the next.
	for second.measures(t, "whiskers_next_mail_timestamp_seconds") == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	if next := second.measures(t, "whiskers_next_mail_timestamp_seconds"); next <= float64(time.Now().Unix()) {
		t.Errorf("the next mail is due at %v", next)
	}
	if last := second.measures(t, "whiskers_last_success_timestamp_seconds"); last == 0 {
		t.Error("it has forgotten the last one")
	}
	if err := run(t.Context(), []string{"-healthy", "-listen", second.address}, io.Discard, nil); err != nil {
		t.Errorf("it is not healthy: %v", err)
	}
	second.ends(t)
	if len(server.mails) != 0 {
		t.Error("a second mail came")
	}
}

// attached is the one attachment of a mail.
func attached(t *testing.T, told *mail.Message) (string, []byte) {
	t.Helper()
	_, about, err := mime.ParseMediaType(told.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	for parts := multipart.NewReader(told.Body, about["boundary"]); ; {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatalf("no attachment: %v", err)
		}
		if part.FileName() != "" && part.Header.Get("Content-Type") != "" {
			content, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, part))
			if err != nil {
				t.Fatal(err)
			}
			return part.FileName(), content
		}
	}
}

func TestAWrongPasswordOrCertificateIsCountedAndLoggedWithoutThePassword(t *testing.T) {
	server := aMailServer(t)
	wrong := arguments(t, server, "hiss hiss")
	stranger := append(arguments(t, server, password), "-ca-file", aMailServer(t).caFile)
	for _, words := range [][]string{wrong, stranger} {
		started := start(t, words...)
		line := started.says(t, "no mail")
		for _, secret := range []string{"hiss", "purr", base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00hiss hiss"))} {
			if said, _ := line["error"].(string); said == "" || strings.Contains(said, secret) {
				t.Errorf("it says %q", said)
			}
		}
		if failed := started.measures(t, "whiskers_mails_failed_total"); failed != 1 {
			t.Errorf("it counts %v failures", failed)
		}
		started.ends(t)
	}
	if len(server.mails) != 0 {
		t.Error("a mail came")
	}
}

func TestWhatIsMissingOrWrongOnTheCommandLineEndsItAtOnceAndIsNamed(t *testing.T) {
	good := arguments(t, aMailServer(t), password)
	for flag, value := range map[string]string{
		"-to": "nobody", "-from": "", "-smarthost": "smtp.example.org", "-at": "8 o'clock", "-time-zone": "Moon/Crater",
		"-password-file": "/none", "-ca-file": os.DevNull, "-username": "", "-state": "/none/state.json",
	} {
		err := run(t.Context(), append(good[:len(good):len(good)], flag, value), io.Discard, slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s %q: %v", flag, value, err)
		}
	}
}

func TestItSaysItsVersion(t *testing.T) {
	var said bytes.Buffer
	if err := run(t.Context(), []string{"-version"}, &said, nil); err != nil || said.String() != "whiskers unknown\n" {
		t.Errorf("%q, %v", said.String(), err)
	}
}
