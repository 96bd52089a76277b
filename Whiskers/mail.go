package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
)

const portOfTLS = 465 // RFC 8314; on all others the connection is upgraded by STARTTLS

// mailer hands mails to a mail server, never without TLS.
type mailer struct {
	to, from, smarthost, username, passwordFile, caFile string
}

// check finds at start what would fail in the morning; a password that is wrong only the mail server knows.
func (m mailer) check() error {
	for _, needed := range []struct{ flag, value string }{{"to", m.to}, {"from", m.from}, {"smarthost", m.smarthost}} {
		if needed.value == "" {
			return fmt.Errorf("-%s is missing; whiskers -help lists what there is", needed.flag)
		}
	}
	if (m.username == "") != (m.passwordFile == "") {
		return errors.New("-username and -password-file belong together")
	}
	if _, err := m.client(); err != nil {
		return err
	}
	_, err := m.message(picture{}, time.Time{})
	return err
}

// send sends one mail; an error never holds the password.
func (m mailer) send(ctx context.Context, cat picture, today time.Time) error {
	client, err := m.client()
	if err != nil {
		return err
	}
	message, err := m.message(cat, today)
	if err != nil {
		return err
	}
	// What fails after the server took the mail, such as saying goodbye, is no reason to send it again.
	if err := client.DialAndSendWithContext(ctx, message); err != nil && !message.IsDelivered() {
		return fmt.Errorf("mail server %s: %w", m.smarthost, err)
	}
	return nil
}

func (m mailer) client() (*mail.Client, error) {
	host, portText, err := net.SplitHostPort(m.smarthost)
	if err != nil {
		return nil, fmt.Errorf("-smarthost %q is not HOST:PORT, e.g. smtp.example.org:587", m.smarthost)
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, fmt.Errorf("-smarthost %q: %q is no port, e.g. 587", m.smarthost, portText)
	}
	trust := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if m.caFile != "" {
		pem, err := os.ReadFile(m.caFile)
		if err != nil {
			return nil, fmt.Errorf("-ca-file: %w", err)
		}
		trust.RootCAs = x509.NewCertPool()
		if !trust.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("-ca-file %s holds no certificate", m.caFile)
		}
	}
	settings := []mail.Option{
		mail.WithPort(port), mail.WithTLSPolicy(mail.TLSMandatory), mail.WithTLSConfig(trust), mail.WithTimeout(longest / 2),
	}
	if port == portOfTLS {
		settings = append(settings, mail.WithSSL())
	}
	if m.username != "" {
		password, err := os.ReadFile(m.passwordFile)
		if err != nil {
			return nil, fmt.Errorf("-password-file: %w", err)
		}
		settings = append(settings, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover),
			mail.WithUsername(m.username), mail.WithPassword(strings.TrimRight(string(password), "\r\n")))
	}
	return mail.NewClient(host, settings...)
}

func (m mailer) message(cat picture, today time.Time) (*mail.Msg, error) {
	message := mail.NewMsg()
	if err := message.From(m.from); err != nil {
		return nil, fmt.Errorf("-from %q: %w", m.from, err)
	}
	if err := message.ToFromString(m.to); err != nil { // several have commas between them
		return nil, fmt.Errorf("-to %q: %w", m.to, err)
	}
	message.Subject("Your cat of " + today.Format("Monday, 2 January 2006"))
	message.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no holiday reply, please
	message.SetBodyString(mail.TypeTextPlain, "Here is your cat of the day: "+cat.name+"\n\nWhiskers\n")
	message.AttachReadSeeker(cat.name, bytes.NewReader(cat.content), mail.WithFileContentType(mail.ContentType(cat.kind)))
	return message, nil
}
