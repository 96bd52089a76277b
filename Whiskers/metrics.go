package main

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics is what Prometheus is told; every series carries the node's name, as the stack's other ones do.
type metrics struct {
	registry          *prometheus.Registry
	sent, failed      prometheus.Counter
	lastSuccess, next prometheus.Gauge
}

func newMetrics(node string) *metrics {
	made := &metrics{
		registry: prometheus.NewRegistry(),
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "whiskers_mails_sent_total", Help: "Mails that the mail server took.",
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "whiskers_mails_failed_total", Help: "Attempts that failed, for want of a picture or of a mail server.",
		}),
		lastSuccess: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "whiskers_last_success_timestamp_seconds", Help: "When the last mail was sent; 0 if never.",
		}),
		next: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "whiskers_next_mail_timestamp_seconds", Help: "When the next mail, or attempt, is due.",
		}),
	}
	about := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "whiskers_build_info", Help: "Always 1; its version is the label.",
		ConstLabels: prometheus.Labels{"version": version},
	})
	about.Set(1)
	prometheus.WrapRegistererWith(prometheus.Labels{"node": node}, made.registry).MustRegister(
		made.sent, made.failed, made.lastSuccess, made.next, about,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return made
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
