package main

import (
	"net/http"
	"os"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
)

func init() {
	caddy.RegisterModule(new(Metrics))
	httpcaddyfile.RegisterHandlerDirective("node_metrics", parseMetrics)
}

// Metrics serves Caddy's measurements, each with the label `node`: there is a gateway on every node, and their
// addresses tell Prometheus nothing.
type Metrics struct {
	handler http.Handler
}

// CaddyModule describes the module to Caddy.
func (*Metrics) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.node_metrics", New: func() caddy.Module { return new(Metrics) }}
}

// Provision finds the measurements and the node's name, which is the container's hostname.
func (m *Metrics) Provision(ctx caddy.Context) error {
	node, err := os.Hostname()
	if err != nil {
		return err
	}
	registry := ctx.GetMetricsRegistry()
	m.handler = promhttp.HandlerFor(prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := registry.Gather()
		return named(families, node), err
	}), promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError})
	return nil
}

// named puts the label on each series. The lists of labels are shared with what measures, so they are copied.
func named(families []*dto.MetricFamily, node string) []*dto.MetricFamily {
	key := "node"
	for _, family := range families {
		for _, metric := range family.Metric {
			metric.Label = slices.Concat(metric.Label, []*dto.LabelPair{{Name: &key, Value: &node}})
		}
	}
	return families
}

// ServeHTTP answers a scrape.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	m.handler.ServeHTTP(w, r)
	return nil
}

// parseMetrics reads the directive, which has nothing but its name; Caddy has taken a matcher out.
func parseMetrics(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h.Next()
	if h.NextArg() {
		return nil, h.ArgErr()
	}
	return new(Metrics), nil
}

var (
	_ caddy.Provisioner           = (*Metrics)(nil)
	_ caddyhttp.MiddlewareHandler = (*Metrics)(nil)
)
