package xds

import (
	"fmt"
	"strings"
	"unicode/utf8"

	core "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
)

// node is what a client says of itself. None of it is believed where it matters: who may be told what goes by the connection.
type node struct {
	id, cluster    string
	agent, version string
	zone           string
	envoy          bool // it asks for all clusters; a gRPC client never does
}

const maxNodeText = 253

func nodeOf(n *core.Node) node {
	l := n.GetLocality()
	zone := l.GetZone()
	if zone == "" {
		zone = l.GetSubZone()
	}
	version := n.GetUserAgentVersion()
	if b := n.GetUserAgentBuildVersion().GetVersion(); version == "" && b != nil {
		version = fmt.Sprintf("%d.%d.%d", b.GetMajorNumber(), b.GetMinorNumber(), b.GetPatch())
	}
	return node{
		id: shortened(n.GetId(), maxNodeText), cluster: shortened(n.GetCluster(), maxNodeText),
		agent: shortened(n.GetUserAgentName(), maxNodeText), version: shortened(version, maxNodeText),
		zone: shortened(zone, maxNodeText), envoy: isEnvoy(n.GetUserAgentName()),
	}
}

func isEnvoy(agent string) bool { return len(agent) >= 5 && strings.EqualFold(agent[:5], "envoy") }

// resolves reports whether the client takes a host's name for an address. The others refuse a whole assignment for one.
func (n node) resolves() bool {
	for _, agent := range []string{"gRPC Go", "gRPC Java", "gRPC Node"} {
		if strings.HasPrefix(n.agent, agent) {
			return true
		}
	}
	return false
}

// shortened bounds a text that somebody else has written.
func shortened(text string, most int) string {
	if len(text) <= most {
		return text
	}
	text = text[:most]
	for !utf8.ValidString(text) && text != "" {
		text = text[:len(text)-1]
	}
	return text
}
