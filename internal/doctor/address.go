package doctor

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
)

var (
	addressLoopback = newKind("address-loopback", "An instance's address means another machine to everybody",
		"Callers elsewhere dial themselves. Register the address by which others reach the program, not the one that it listens on.")
	addressShared = newKind("address-shared", "Two instances of a service have one address",
		"Callers have one connection to both, and the one written last counts. If one is a leftover, it goes with its TTL; if not, register it under the id that it had.")
)

var addressCheck = check{"addresses", "whether instances can be told apart and reached", func(ctx context.Context, p *patient) ([]Finding, error) {
	members, err := p.answering(ctx)
	if err != nil {
		return nil, err
	}
	listed, err := p.keys(ctx)
	return judgeAddresses(listed.keys, !everybodyHere(members)), err
}}

// everybodyHere reports whether all of etcd is on this machine's loopback, and so, most likely, all who use it.
func everybodyHere(members []member) bool {
	for _, peer := range peersOf(members) {
		if !onLoopback(peer, nil) {
			return false
		}
	}
	return !slices.ContainsFunc(members, func(m member) bool { return !loopback(hostOf(m.endpoint)) })
}

func judgeAddresses(keys []instanceKey, remote bool) []Finding {
	local, shared := map[string][]string{}, map[string][]string{}
	at := map[[2]string][]string{} // service and address → ids
	for _, k := range keys {
		if k.service == "" || k.err != nil || k.service == serverService || k.state == "leaving" {
			continue
		}
		at[[2]string{k.service, k.addr}] = append(at[[2]string{k.service, k.addr}], k.id)
		if host, _, err := net.SplitHostPort(k.addr); remote && err == nil && loopback(host) {
			local[k.service] = append(local[k.service], fmt.Sprintf("%s is at %s", k.id, k.addr))
		}
	}
	for _, where := range slices.SortedFunc(maps.Keys(at), func(a, b [2]string) int { return slices.Compare(a[:], b[:]) }) {
		if ids := at[where]; len(ids) > 1 {
			shared[where[0]] = append(shared[where[0]], where[1]+": "+strings.Join(few(ids), ", "))
		}
	}
	return slices.Concat(each(addressLoopback, Warning, local), each(addressShared, Notice, shared))
}
