package server

import (
	"strings"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/message"
	"github.com/rollcall-io/rollcall/internal/xds"
)

// xdsClients is xDS as the API asks it.
type xdsClients struct{ *xds.Server }

// xdsTypes are what people call types of resources.
var xdsTypes = map[string]string{
	"Listener": "listener", "RouteConfiguration": "route", "Cluster": "cluster", "ClusterLoadAssignment": "endpoints",
}

// Clients implements [grpcapi.Xds].
func (x xdsClients) Clients() []*rollcallv1.XdsClient {
	var list []*rollcallv1.XdsClient
	for _, c := range x.Server.Clients() {
		m := &rollcallv1.XdsClient{
			Id: message.Text(c.ID), Cluster: message.Text(c.Cluster), Author: message.Text(c.Author), Agent: message.Text(c.Agent),
			AgentVersion: message.Text(c.AgentVersion), Zone: message.Text(c.Zone), Delta: c.Delta, Since: message.Moment(c.Since),
		}
		for _, w := range c.Types {
			m.Types = append(m.Types, watchedMessage(w))
		}
		list = append(list, m)
	}
	return list
}

func watchedMessage(w xds.Watched) *rollcallv1.XdsWatched {
	m := &rollcallv1.XdsWatched{
		Type: xdsTypes[w.TypeURL[strings.LastIndex(w.TypeURL, ".")+1:]], Names: make([]string, len(w.Names)),
		Revisions: w.Revisions, Everything: w.Everything, Version: message.Text(w.Version), Pending: w.Pending,
	}
	for n, name := range w.Names {
		m.Names[n] = message.Text(name)
	}
	if r := w.Refusal; r != nil {
		m.Refusal = &rollcallv1.XdsRefusal{Version: message.Text(r.Version), Detail: message.Text(r.Detail), Time: message.Moment(r.At)}
	}
	return m
}
