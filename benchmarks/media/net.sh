#!/bin/sh
# Test network of the relay benchmark: two namespaces of our own, nothing else is touched. Needs root.
#   net.sh up | down
# ctm-gen 10.77.0.1 (load generator, CPU 0) <-veth-> ctm-rel 10.77.0.2 (relay, CPU 1)
set -e
down() {
	for name in ctm-gen ctm-rel; do ip netns del $name 2>/dev/null || true; done
}
case "$1" in
down) down ;;
up)
	down
	for name in ctm-gen ctm-rel; do ip netns add $name; ip -n $name link set lo up; done
	ip link add cmg0 netns ctm-gen address 02:00:00:00:77:01 type veth peer name cmr0 netns ctm-rel address 02:00:00:00:77:02
	ip -n ctm-gen addr add 10.77.0.1/24 dev cmg0
	ip -n ctm-rel addr add 10.77.0.2/24 dev cmr0
	ip -n ctm-gen link set cmg0 up
	ip -n ctm-rel link set cmr0 up
	ip -n ctm-gen neigh replace 10.77.0.2 lladdr 02:00:00:00:77:02 dev cmg0 nud permanent
	ip -n ctm-rel neigh replace 10.77.0.1 lladdr 02:00:00:00:77:01 dev cmr0 nud permanent
	ip netns exec ctm-rel sh -c 'for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 >$f; done
		echo "1024 65000" >/proc/sys/net/ipv4/ip_local_port_range; echo 1 >/proc/sys/net/ipv4/ip_forward'
	;;
*) echo "usage: net.sh up|down" >&2; exit 1 ;;
esac
