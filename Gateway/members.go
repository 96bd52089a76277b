package main

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"golang.org/x/crypto/bcrypt"
)

const (
	// How long a wrong password keeps all others waiting: so many can be tried, whatever the processor.
	pause = time.Second
	// How many may wait for that. More are sent away, so that a flood of guesses does not fill the memory.
	queue = 16
)

var errBusy = errors.New("too many are logging in at once")

func init() {
	caddy.RegisterModule(new(Members))
	httpcaddyfile.RegisterHandlerDirective("members", parseMembers)
}

// Members lets in who shows a client certificate, which TLS has verified by then, and who knows a password.
//
// Caddy's own basic_auth compares the password of a user that there is not with a hash of cost 14: seconds on a
// Pi, which tell who is a user and which anybody can have it work for. Here an unknown one costs as much as the
// costliest hash (`user set` makes them all alike), one is compared at a time, and a wrong one is followed by a
// pause. What was right is remembered, by a keyed hash.
type Members struct {
	Realm string            `json:"realm"`
	Users map[string]string `json:"users"`

	nobody []byte
	key    []byte
	known  sync.Map
	turn   chan struct{}
	places chan struct{}
	log    *zap.Logger
}

// CaddyModule describes the module to Caddy.
func (*Members) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.members", New: func() caddy.Module { return new(Members) }}
}

// Provision makes what Members needs to compare passwords.
func (m *Members) Provision(ctx caddy.Context) error {
	cost := bcrypt.MinCost
	for name, hash := range m.Users {
		found, err := bcrypt.Cost([]byte(hash))
		if err != nil {
			return fmt.Errorf("user %s: %w", name, err)
		}
		cost = max(cost, found)
	}
	m.key = make([]byte, sha256.Size)
	_, _ = rand.Read(m.key)
	var err error
	// Nobody's password is random, too.
	if m.nobody, err = bcrypt.GenerateFromPassword(m.key, cost); err != nil {
		return err
	}
	m.turn = make(chan struct{}, 1)
	m.places = make(chan struct{}, queue)
	m.log = ctx.Logger()
	return nil
}

// ServeHTTP hands a member's request on, without the password, and answers all others with 401.
func (m *Members) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	certified := r.TLS != nil && len(r.TLS.VerifiedChains) > 0
	name, password, given := r.BasicAuth()
	if given {
		// What is behind has other users, if any.
		r.Header.Del("Authorization")
	}
	if certified {
		return next.ServeHTTP(w, r)
	}
	if given {
		right, err := m.right(r, name, password)
		if err != nil {
			w.Header().Set("Retry-After", "5")
			return caddyhttp.Error(http.StatusTooManyRequests, err)
		}
		if right {
			return next.ServeHTTP(w, r)
		}
	}
	w.Header().Set("WWW-Authenticate", fmt.Sprintf("Basic realm=%q, charset=\"UTF-8\"", m.Realm))
	return caddyhttp.Error(http.StatusUnauthorized, errors.New("no member"))
}

// right says whether the password is the user's; errBusy where too many want to know.
func (m *Members) right(r *http.Request, name, password string) (bool, error) {
	mark := m.mark(name, password)
	if _, known := m.known.Load(mark); known {
		return true, nil
	}
	select {
	case m.places <- struct{}{}:
		defer func() { <-m.places }()
	default:
		return false, errBusy
	}
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-r.Context().Done():
		return false, context.Cause(r.Context())
	}
	// A browser asks for many files at once, each with the same password.
	if _, known := m.known.Load(mark); known {
		return true, nil
	}
	hash, exists := m.Users[name]
	if !exists {
		hash = string(m.nobody)
	}
	if bcrypt.CompareHashAndPassword([]byte(hash), []byte(password)) == nil && exists {
		m.known.Store(mark, true)
		return true, nil
	}
	m.refused(r, name, exists)
	time.Sleep(pause)
	return false, nil
}

// refused logs where a wrong password came from. A name that nobody has is not told: people type their password
// where the name belongs.
func (m *Members) refused(r *http.Request, name string, exists bool) {
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = r.RemoteAddr
	}
	if !exists {
		name = "(unknown)"
	}
	m.log.Warn("login refused", zap.String("user", name), zap.String("from", from))
}

// mark is what is remembered of a name and a password.
func (m *Members) mark(name, password string) [sha256.Size]byte {
	sum := hmac.New(sha256.New, m.key)
	fmt.Fprintf(sum, "%d %s %s", len(name), name, password)
	return [sha256.Size]byte(sum.Sum(nil))
}

// parseMembers reads the directive:
//
//	members REALM {
//		user NAME HASH
//	}
func parseMembers(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	m := &Members{Users: map[string]string{}}
	h.Next()
	if !h.AllArgs(&m.Realm) {
		return nil, h.ArgErr()
	}
	for h.NextBlock(0) {
		var name, hash string
		if h.Val() != "user" || !h.AllArgs(&name, &hash) {
			return nil, h.ArgErr()
		}
		m.Users[name] = hash
	}
	return m, nil
}

var (
	_ caddy.Provisioner           = (*Members)(nil)
	_ caddyhttp.MiddlewareHandler = (*Members)(nil)
)
