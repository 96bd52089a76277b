#!/bin/bash
# The least that the same work takes: plain ssh to all nodes at once, one connection a node, one script a node,
# openssl here for the certificates. No question before a change and none after it.
#
#   floor.sh VERB WORK NODE=ADDRESS...     the first node is the manager
#     cold     blank nodes become a swarm
#     nothing  read, in one session a node, all that a swarm's nodes were given; change nothing
#     join     the last node is blank, the others are a swarm already
#     light    as `nothing`, but only what needs no engine
#
# WORK is a folder with `ssh_config`; the CA is made there.
set -eu

verb=$1 work=$2
shift 2
nodes=("$@")
leader=${nodes[0]#*=}
registry=$leader:5000
payload=$(dirname "$0")/../payload
pki=$work/pki
sockets=$work/ssh

# ---- here ----

open() { # ADDRESS
	ssh -F "$work/ssh_config" -o ControlPath="$sockets/%h" -fNM "$1" </dev/null
}

on() { # ADDRESS FUNCTION [ARGUMENT...]: run one of the functions below on a node, as root
	local address=$1
	shift
	{
		declare -f
		declare -p files nodes addresses network registry
		printf '%q ' "$@"
	} | ssh -F "$work/ssh_config" -o ControlPath="$sockets/%h" "$address" sudo bash -eus
}

each() { # FUNCTION NODE...: for all nodes at once; fails if it fails for one
	local function=$1 processes=() process failed=0
	shift
	for node in "$@"; do
		"$function" "${node%%=*}" "${node#*=}" &
		processes+=($!)
	done
	for process in "${processes[@]}"; do wait "$process" || failed=1; done
	return $failed
}

bring() { # NAME ADDRESS: a blank node becomes one of the swarm
	local request certificate
	open "$2"
	request=$(on "$2" configure "$1")
	certificate=$(sh "$payload/sign.sh" "$pki" "$1" "$2" <<<"$request")
	on "$2" install_engine "$certificate" "$(cat "$pki/ca.pem")"
	if [ "$2" = "$leader" ]; then
		on "$2" start_swarm "$2"
		fetch_token
	else
		await_token
		on "$2" join_swarm "$2" "$(cat "$work/token")" "$leader"
	fi
}

fetch_token() {
	on "$leader" print_token >"$work/token.new"
	mv "$work/token.new" "$work/token"
}

await_token() { # another node's process fetches it
	for _ in {1..6000}; do
		test ! -e "$work/token" || return 0
		sleep 0.05
	done
	echo "no token after five minutes" >&2
	return 1
}

label() { # NODE...: all labels in one session
	local words=() node
	for node in "$@"; do
		words+=("${node%%=*}=")
		[ "$node" != "${nodes[0]}" ] || words+=("registry=$registry")
		[ "$node" != "${nodes[1]}" ] || words+=(prometheus=true)
	done
	on "$leader" label_nodes "${words[@]}"
}

admit() { # NAME ADDRESS: an old node learns of the new one
	[ "$2" = "$leader" ] || open "$2"
	on "$2" admit_node "${nodes[-1]}"
	[ "$2" != "$leader" ] || fetch_token
}

show() { # NAME ADDRESS
	on "$2" "$reads" >"$work/$1.state"
}

# ---- on a node ----

configure() { # NAME: all that comes before the engine; prints the signing request
	hostnamectl set-hostname "$1"
	sed -i '/^127\.0\.1\.1\s/d' /etc/hosts
	printf '127.0.1.1\t%s\n' "$1" >>/etc/hosts
	introduce "${nodes[@]}"
	modules=$(modinfo -F name overlay br_netfilter vxlan ip_vs ip_vs_rr xt_ipvs 2>/dev/null || true)
	test -z "$modules" || { echo "$modules" >/etc/modules-load.d/cluster.conf && modprobe -a $modules; }
	install -d -m 700 /etc/docker/tls
	mkdir -p "/etc/docker/certs.d/$registry" /etc/systemd/system/docker.service.d
	printf '%s\n' "${files[daemon.json]}" >/etc/docker/daemon.json
	printf '%s\n' "${files[docker.conf]}" >/etc/systemd/system/docker.service.d/cluster.conf
	printf '%s\n' "${files[firewall.service]}" >/etc/systemd/system/cluster-firewall.service
	place_firewall
	systemctl enable --quiet cluster-firewall
	cd /etc/docker/tls
	umask 077
	openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out server-key.pem
	openssl req -new -key server-key.pem -subj /CN=engine
}

introduce() { # NODE...: find them by their names
	local node
	for node in "$@"; do
		test "${node%%=*}" = "$(cat /proc/sys/kernel/hostname)" || printf '%s\t%s\n' "${node#*=}" "${node%%=*}"
	done >>/etc/hosts
}

place_firewall() {
	local rules=${files[firewall.nft.j2]/'{{ nodes }}'/$addresses}
	printf '%s\n' "${rules/'{{ network }}'/$network}" >/etc/cluster-firewall.nft
	systemctl reload-or-restart cluster-firewall
}

admit_node() { # NODE: what an old node learns of a new one
	introduce "$1"
	place_firewall
}

install_engine() { # CERTIFICATE CA
	printf '%s\n' "$1" >/etc/docker/tls/server-cert.pem
	printf '%s\n' "$2" | tee /etc/docker/tls/ca.pem >"/etc/docker/certs.d/$registry/ca.crt"
	export DEBIAN_FRONTEND=noninteractive
	local get='apt-get -qq -y --no-install-recommends install docker.io docker-cli'
	$get >/dev/null || { apt-get -qq update && $get >/dev/null; }
	printf '%s hold\n' docker.io docker-cli containerd runc | dpkg --set-selections
}

start_swarm() { # ADDRESS
	docker swarm init --advertise-addr "$1" \
		--default-addr-pool 10.201.0.0/16 --default-addr-pool-mask-length 24 >/dev/null
}

print_token() {
	docker swarm join-token -q worker
}

join_swarm() { # ADDRESS TOKEN LEADER
	docker swarm join --advertise-addr "$1" --token "$2" "$3:2377" >/dev/null
}

label_nodes() { # NAME= [LABEL=VALUE...] NAME= ...
	local ipvs=false name='' processes=()
	modprobe ip_vs 2>/dev/null || true
	test ! -e /proc/net/ip_vs || ipvs=true
	declare -A labels
	for word in "$@"; do
		case $word in
		*=) name=${word%=} labels[$name]="ipvs=$ipvs platform=linux/$(dpkg --print-architecture)" ;;
		*) labels[$name]+=" $word" ;;
		esac
	done
	for name in "${!labels[@]}"; do
		label_node "$name" ${labels[$name]} &
		processes+=($!)
	done
	for process in "${processes[@]}"; do wait "$process"; done
}

label_node() { # NAME LABEL=VALUE...
	local name=$1
	shift
	# a node that has just joined has no name for a moment
	for _ in {1..100}; do
		docker node update $(printf ' --label-add %s' "$@") "$name" >/dev/null 2>&1 && return 0
		sleep 0.1
	done
	echo "$name cannot be labelled" >&2
	return 1
}

read_all() {
	read_host
	set +e
	cat /etc/docker/daemon.json /etc/docker/tls/*.pem /etc/docker/certs.d/*/ca.crt /etc/cluster-firewall.nft \
		/etc/systemd/system/cluster-firewall.service /etc/systemd/system/docker.service.d/*
	dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\n' docker.io docker-cli containerd runc
	systemctl show docker.service cluster-firewall.service -p ActiveState -p UnitFileState -p NeedDaemonReload
	nft list table inet cluster
	curl -s --unix-socket /run/docker.sock http://engine/info
	curl -s --unix-socket /run/docker.sock http://engine/nodes
}

read_host() {
	set +e
	cat /proc/sys/kernel/hostname /etc/hosts /proc/cmdline
	uname -m
	dpkg --print-architecture
	date +%s.%N
	timedatectl show -p NTP -p CanNTP -p NTPSynchronized
	modinfo -F name overlay br_netfilter vxlan ip_vs ip_vs_rr xt_ipvs 2>/dev/null
	cat /etc/modules-load.d/cluster.conf 2>/dev/null
	ls -d /proc/net/ip_vs /sys/fs/cgroup/memory /sys/fs/cgroup/cgroup.controllers 2>/dev/null
	ip -4 -o route show
}

# ---- the verbs ----

declare -A files
for file in daemon.json docker.conf firewall.service firewall.nft.j2; do
	files[$file]=$(cat "$payload/$file")
done
addresses=$(printf '%s, ' "${nodes[@]#*=}")
addresses=${addresses%, }
network=${leader%.*}.0/24
mkdir -p "$sockets"
rm -f "$work/token"

case $verb in
cold)
	sh "$payload/authority.sh" "$pki"
	each bring "${nodes[@]}"
	label "${nodes[@]}"
	;;
join)
	open "$leader"
	each admit "${nodes[@]:0:${#nodes[@]}-1}" &
	admitted=$!
	bring "${nodes[-1]%%=*}" "${nodes[-1]#*=}"
	wait "$admitted"
	label "${nodes[-1]}"
	;;
nothing) reads=read_all && each show "${nodes[@]}" ;;
light) reads=read_host && each show "${nodes[@]}" ;;
esac
