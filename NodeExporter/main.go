// Command node_exporter is Prometheus' node_exporter with one addition: every series carries the label
// `node`, the name of the node that it measures. In a swarm a scraped address is that of a container and
// says nothing, and discovery by DNS knows no names; so the exporter tells its node's name itself.
//
// The collectors and their flags are upstream's, unchanged.
package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime"

	"github.com/alecthomas/kingpin/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	versioncollector "github.com/prometheus/client_golang/prometheus/collectors/version"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/promslog"
	promslogflag "github.com/prometheus/common/promslog/flag"
	"github.com/prometheus/common/version"
	"github.com/prometheus/exporter-toolkit/web"
	"github.com/prometheus/exporter-toolkit/web/kingpinflag"
	"github.com/prometheus/node_exporter/collector"
)

const program = "node_exporter"

func main() {
	var (
		node        = kingpin.Flag("node.name", "What the label `node` says on every series; by default the hostname.").Envar("NODE_NAME").String()
		path        = kingpin.Flag("web.telemetry-path", "Path under which to expose metrics.").Default("/metrics").String()
		maxRequests = kingpin.Flag("web.max-requests", "Maximum number of parallel scrape requests. Use 0 to disable.").Default("40").Int()
		noDefaults  = kingpin.Flag("collector.disable-defaults", "Set all collectors to disabled by default.").Bool()
		maxProcs    = kingpin.Flag("runtime.gomaxprocs", "The target number of CPUs Go will run on.").Envar("GOMAXPROCS").Default("1").Int()
		listen      = kingpinflag.AddFlags(kingpin.CommandLine, ":9100")
		logging     = &promslog.Config{}
	)
	promslogflag.AddFlags(kingpin.CommandLine, logging)
	kingpin.Version(version.Print(program))
	kingpin.CommandLine.UsageWriter(os.Stdout)
	kingpin.HelpFlag.Short('h')
	kingpin.Parse()

	logger := promslog.New(logging)
	runtime.GOMAXPROCS(*maxProcs)
	if *noDefaults {
		collector.DisableDefaultCollectors()
	}
	if err := serve(*node, *path, *maxRequests, listen, logger); err != nil {
		logger.Error(err.Error())
		os.Exit(1)
	}
}

// serve answers scrapes until the listener fails.
func serve(node, path string, maxRequests int, listen *web.FlagConfig, logger *slog.Logger) error {
	if node == "" {
		hostname, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("reading the hostname for the label node (--node.name sets it): %w", err)
		}
		node = hostname
	}
	metrics, err := handler(node, maxRequests, logger)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle(path, metrics)
	if path != "/" {
		mux.Handle("/{$}", http.RedirectHandler(path, http.StatusFound))
	}
	logger.Info("Starting "+program, "version", version.Info(), "node", node)
	return web.ListenAndServe(&http.Server{Handler: mux}, listen, logger)
}

// handler serves what the enabled collectors measure, and what the exporter says of itself.
//
// A collector with a label `node` of its own (meminfo_numa, zoneinfo; upstream has both off) loses its
// series to the constant one; the others are not disturbed.
func handler(node string, maxRequests int, logger *slog.Logger) (http.Handler, error) {
	measured, err := collector.NewNodeCollector(logger)
	if err != nil {
		return nil, fmt.Errorf("creating the collectors: %w", err)
	}
	registry := prometheus.NewRegistry()
	named := prometheus.WrapRegistererWith(prometheus.Labels{"node": node}, registry)
	for _, each := range []prometheus.Collector{
		measured,
		versioncollector.NewCollector(program),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := named.Register(each); err != nil {
			return nil, fmt.Errorf("registering a collector: %w", err)
		}
	}
	return promhttp.InstrumentMetricHandler(named, promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(logger.Handler(), slog.LevelError),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxRequests,
		Registry:            named,
	})), nil
}
