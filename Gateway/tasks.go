package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// How long a name may take: the swarm's own DNS answers at once what it knows.
const patience = time.Second

func init() {
	caddy.RegisterModule(new(Tasks))
}

// Tasks are the addresses of a service's tasks, asked for at each request.
//
// Of a service without tasks the swarm's DNS knows nothing, and passes the question on to the network's own DNS, which
// anybody there may answer, or nobody. So an address counts in a network of this container only, and nobody waits long
// or for another. Caddy's own `dynamic a` takes any address, and while one name is looked up all others wait for it.
type Tasks struct {
	Service string `json:"service"`
	Port    string `json:"port"`

	near   []*net.IPNet
	lookup func(ctx context.Context, network, name string) ([]net.IP, error)
}

// CaddyModule describes the module to Caddy.
func (*Tasks) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.reverse_proxy.upstreams.tasks", New: func() caddy.Module { return new(Tasks) }}
}

// Provision finds the networks of this container.
func (t *Tasks) Provision(caddy.Context) error {
	t.lookup = net.DefaultResolver.LookupIP
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && !network.IP.IsLoopback() {
			t.near = append(t.near, network)
		}
	}
	return nil
}

// GetUpstreams gives the tasks in the order of their addresses, so that taking turns is fair.
func (t *Tasks) GetUpstreams(r *http.Request) ([]*reverseproxy.Upstream, error) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	// With a dot at the end: the host's search domains are no business of it.
	addresses, err := t.lookup(ctx, "ip4", "tasks."+t.Service+".")
	if err != nil {
		return nil, err
	}
	slices.SortFunc(addresses, func(one, other net.IP) int { return bytes.Compare(one.To16(), other.To16()) })
	var found []*reverseproxy.Upstream
	for _, address := range addresses {
		if slices.ContainsFunc(t.near, func(network *net.IPNet) bool { return network.Contains(address) }) {
			found = append(found, &reverseproxy.Upstream{Dial: net.JoinHostPort(address.String(), t.Port)})
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("service %s: none of %v is in a network of the swarm", t.Service, addresses)
	}
	return found, nil
}

// UnmarshalCaddyfile reads `dynamic tasks SERVICE PORT`.
func (t *Tasks) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	if !d.Args(&t.Service, &t.Port) || d.NextArg() {
		return d.ArgErr()
	}
	return nil
}

var (
	_ caddy.Provisioner           = (*Tasks)(nil)
	_ caddyfile.Unmarshaler       = (*Tasks)(nil)
	_ reverseproxy.UpstreamSource = (*Tasks)(nil)
)
