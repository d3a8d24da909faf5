package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/rollcall-io/rollcall/internal/server"
)

// members is the value of --cluster.
type members []server.Member

func (m *members) Type() string { return "members" }

func (m *members) String() string {
	words := make([]string, len(*m))
	for i, member := range *m {
		words[i] = member.String()
	}
	return strings.Join(words, ",")
}

// Set takes a comma separated list of name=URL; an empty one names nobody.
func (m *members) Set(text string) error {
	*m = nil
	if text == "" {
		return nil
	}
	for word := range strings.SplitSeq(text, ",") {
		name, url, found := strings.Cut(strings.TrimSpace(word), "=")
		if !found {
			return fmt.Errorf("%q is not name=peerURL", word)
		}
		*m = append(*m, server.Member{Name: name, PeerURL: strings.TrimSuffix(url, "/")})
	}
	return nil
}

// clusterState is the value of --cluster-state, in etcd's words.
type clusterState string

const (
	stateNew      clusterState = "new"
	stateExisting clusterState = "existing"
)

func (s *clusterState) Type() string   { return "state" }
func (s *clusterState) String() string { return string(*s) }

func (s *clusterState) Set(text string) error {
	if text != string(stateNew) && text != string(stateExisting) {
		return errors.New("it is new or existing")
	}
	*s = clusterState(text)
	return nil
}

// list is the value of a flag that is a comma separated list of words.
type list []string

func (l *list) Type() string   { return "list" }
func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(text string) error {
	*l = nil
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word != "" {
			*l = append(*l, word)
		}
	}
	return nil
}

// networks is the value of a flag that takes networks, such as 10.0.0.0/8, or single addresses.
type networks []netip.Prefix

func (n *networks) Type() string { return "networks" }

func (n *networks) String() string {
	words := make([]string, len(*n))
	for i, network := range *n {
		words[i] = network.String()
	}
	return strings.Join(words, ",")
}

func (n *networks) Set(text string) error {
	var all networks
	for word := range strings.SplitSeq(text, ",") {
		word = strings.TrimSpace(word)
		if word == "" {
			continue
		}
		network, err := netip.ParsePrefix(word)
		if addr, single := netip.ParseAddr(word); single == nil {
			network, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return fmt.Errorf("%q is no network such as 10.0.0.0/8", word)
		}
		all = append(all, network.Masked())
	}
	*n = all
	return nil
}
