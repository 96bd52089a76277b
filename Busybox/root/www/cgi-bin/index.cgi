#!/bin/busybox sh
# The page at `/`: busybox' httpd runs this where a folder has no index.html; and, below its address, the page's files.
# They are not fetched as files because httpd cannot say how long one may be kept, and names a version by time and
# size, while all files of an image have one time: a browser would keep yesterday's page. It passes no If-None-Match
# on either, so each visit gets all of it, some 30 kB; after that the page fetches measurements only.
# Environment, from the stack: CLUSTER (its name) and SERVICES (what the gateway leads to). The host name is the node's.

headers() { # content type
	printf 'Content-Type: %s; charset=utf-8\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n' "$1"
	printf "Content-Security-Policy: default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
	printf 'Referrer-Policy: same-origin\r\n\r\n'
}

escape() { # text that HTML takes literally
	printf '%s' "$1" | /bin/busybox sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g' -e 's/"/\&quot;/g'
}

link() { # a service of the gateway's: its path, and its name as people write it
	first=$(printf '%.1s' "$1" | /bin/busybox tr a-z A-Z)
	echo "<li><a href=\"/$(escape "$1")/\">$(escape "$first${1#?}")</a></li>"
}

case $PATH_INFO in
/page.css) headers text/css && exec /bin/busybox cat ../page.css ;;
/page.js) headers text/javascript && exec /bin/busybox cat ../page.js ;;
'' | /) ;;
*) printf 'Status: 404 Not Found\r\nContent-Type: text/plain\r\n\r\nThere is no such file.\n' && exit ;;
esac

node=$(escape "$(/bin/busybox hostname)")
cluster=$(escape "${CLUSTER:-a swarm}")
links=$(for service in $SERVICES; do link "$service"; done)

headers text/html
/bin/busybox cat << PAGE
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="served-by" content="$node">
<title>$cluster</title>
<link rel="icon" href="/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/cgi-bin/index.cgi/page.css">
<script src="/cgi-bin/index.cgi/page.js" defer></script>
</head>
<body>
<header>
<p class="cluster"><img src="/icon.svg" alt="" width="32" height="32"> $cluster</p>
<nav aria-label="Other pages of this cluster"><ul role="list">$links</ul></nav>
</header>
<main>
<div class="verdict" aria-live="polite" aria-atomic="true">
<h1 id="verdict">No data yet</h1>
<p id="also"></p>
</div>
<noscript><p>This page needs JavaScript to show measurements; Prometheus, linked above, has them too.</p></noscript>
<p id="fresh" class="quiet"></p>
<section id="alerts" aria-labelledby="alerts-title" hidden>
<h2 id="alerts-title">Alerts</h2>
<ul role="list"></ul>
</section>
<section id="pis" aria-labelledby="pis-title" hidden>
<h2 id="pis-title">Pis</h2>
<table role="table" aria-labelledby="pis-title">
<thead role="rowgroup"><tr role="row">
<th role="columnheader" scope="col">Name</th>
<th role="columnheader" scope="col">Load</th>
<th role="columnheader" scope="col">Memory</th>
<th role="columnheader" scope="col">Temperature</th>
<th role="columnheader" scope="col">Power</th>
<th role="columnheader" scope="col">Disk</th>
<th role="columnheader" scope="col">Up for</th>
</tr></thead>
<tbody role="rowgroup"></tbody>
</table>
</section>
<div class="two">
<section id="services" aria-labelledby="services-title" hidden>
<h2 id="services-title">Services</h2>
<p class="quiet" hidden></p>
<ul role="list"></ul>
</section>
<section id="deployed" aria-labelledby="deployed-title" hidden>
<h2 id="deployed-title">Deployed</h2>
<p class="quiet" hidden></p>
<ol role="list"></ol>
</section>
</div>
</main>
<footer>This page came from $node.</footer>
</body>
</html>
PAGE
