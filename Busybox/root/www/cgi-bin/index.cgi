#!/bin/busybox sh
# The page at `/`: busybox' httpd runs this where a folder has no index.html.
# Environment, from the stack: CLUSTER (its name) and PROMETHEUS (its address). The host name is the node's.
# Nothing is read but /proc, so it needs no script in the browser and no file to be written.

escape() { # text that HTML takes literally
	printf '%s' "$1" | /bin/busybox sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g' -e 's/"/\&quot;/g'
}

kib() { # a value of /proc/meminfo, in KiB
	while read -r key value _; do
		[ "$key" = "$1:" ] && echo "$value" && return
	done < /proc/meminfo
	echo 0
}

period() { # seconds, as a person says them
	if [ "$1" -ge 172800 ]; then echo "$(($1 / 86400)) days"
	elif [ "$1" -ge 7200 ]; then echo "$(($1 / 3600)) hours"
	elif [ "$1" -ge 120 ]; then echo "$(($1 / 60)) minutes"
	else echo "$1 seconds"; fi
}

node=$(escape "$(/bin/busybox hostname)")
cluster=$(escape "${CLUSTER:-a swarm}")
prometheus=$(escape "${PROMETHEUS:-}")
machine=$(/bin/busybox uname -m)
cores=$(/bin/busybox grep -c '^processor' /proc/cpuinfo)
read -r load1 load5 load15 _ < /proc/loadavg
IFS=. read -r uptime _ < /proc/uptime
total=$(kib MemTotal)
used=$((total - $(kib MemAvailable)))
percent=$((total > 0 ? used * 100 / total : 0))
links=
if [ -n "$prometheus" ]; then
	graph="$prometheus/query?g0.expr=node_load1&amp;g0.tab=graph&amp;g0.range_input=1h"
	links="<a class=\"button\" href=\"$graph\">The load of all nodes</a>
<a href=\"$prometheus/targets\">What Prometheus watches</a>"
fi
now=$(/bin/busybox date -u '+%Y-%m-%d %H:%M:%S UTC')

printf 'Content-Type: text/html; charset=utf-8\r\nCache-Control: no-store\r\n\r\n'
/bin/busybox cat << PAGE
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="served-by" content="$node">
<title>$cluster, served by $node</title>
<link rel="icon" href="/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/style.css">
</head>
<body>
<main>
<header>
<img src="/icon.svg" alt="" width="56" height="56">
<p>Cluster <strong>$cluster</strong></p>
</header>
<h1><span class="by">This page comes from</span> <span class="node">$node</span></h1>
<dl>
<div><dt>Up for</dt><dd>$(period "$uptime")</dd></div>
<div><dt>Load</dt><dd>$load1 <small>$load5, $load15</small></dd></div>
<div><dt>Memory</dt><dd>$((used / 1024)) <small>of $((total / 1024)) MB</small>
<meter min="0" max="100" high="85" value="$percent" aria-label="memory in use: $percent percent"></meter></dd></div>
<div><dt>Processor</dt><dd>$machine <small>$cores cores</small></dd></div>
</dl>
<nav aria-label="Where to go from here">
$links
<a href="/">Ask again</a>
</nav>
<footer>Measured on $node at <time>$now</time>, by a shell script and busybox.</footer>
</main>
</body>
</html>
PAGE
