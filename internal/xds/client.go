package xds

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Client is somebody who is connected. What it says of itself, all but Author, may be made up.
type Client struct {
	ID, Cluster  string // the node's
	Author       string // whom the connection is of; "" when that is not known
	Agent        string // the program, such as "gRPC Go"
	AgentVersion string
	Zone         string
	Delta        bool // it is told of changes only
	Since        time.Time
	Types        []Watched
}

// Watched is what a client watches of one type of resource.
type Watched struct {
	TypeURL    string
	Names      []string // sorted
	Revisions  []int64  // of etcd, for each of the names: the newest of which the client has acknowledged it; 0 for none
	Everything bool     // all services that it may be told of
	Version    string   // the newest that it acknowledged; "" for none
	Nonce      string   // of that
	Pending    bool     // it was sent something newer
	Refusal    *Refusal // what it refused since then; nil: nothing
}

// Refusal is that a client did not accept what it was sent. It goes on with what it had.
type Refusal struct {
	Version string // of what it refused
	Detail  string // why, in its own words; at most 1 KiB
	At      time.Time
}

// Clients returns who is connected, sorted by id.
func (s *Server) Clients() []Client {
	s.mu.Lock()
	streams := s.streamsLocked()
	s.mu.Unlock()
	list := make([]Client, 0, len(streams))
	for _, st := range streams {
		list = append(list, st.client())
	}
	slices.SortFunc(list, func(a, b Client) int { return cmp.Or(strings.Compare(a.ID, b.ID), a.Since.Compare(b.Since)) })
	return list
}

func (st *stream) client() Client {
	st.mu.Lock()
	defer st.mu.Unlock()
	c := Client{
		ID: st.node.id, Cluster: st.node.cluster, Author: st.who, Agent: st.node.agent, AgentVersion: st.node.version,
		Zone: st.node.zone, Delta: st.delta, Since: st.since,
	}
	for k, w := range st.types {
		if w != nil {
			c.Types = append(c.Types, Watched{
				TypeURL: typeURLs[k], Names: w.subs.names(), Revisions: w.subs.revisions(), Everything: w.everything,
				Version: w.acked, Nonce: w.ackedNonce, Pending: len(w.outstanding) > 0, Refusal: w.refusal,
			})
		}
	}
	return c
}

// PendingError is that some clients have not acknowledged what was waited for.
type PendingError struct {
	Clients []Client
	Cause   error // what ended the wait
}

func (e *PendingError) Error() string {
	var who []string
	for _, c := range e.Clients {
		word := fmt.Sprintf("%q (%s)", c.ID, strings.TrimSpace(c.Agent+" "+c.AgentVersion))
		for _, t := range c.Types {
			if t.TypeURL == typeURLs[endpoints] && t.Refusal != nil {
				word += ", which refuses it: " + t.Refusal.Detail
			}
		}
		who = append(who, word)
	}
	return fmt.Sprintf("not acknowledged by %s: %v", strings.Join(who, ", "), e.Cause)
}

// Unwrap returns what ended the wait.
func (e *PendingError) Unwrap() error { return e.Cause }

// Acknowledged returns when each client that watches a service's endpoints has acknowledged those of a revision of etcd, or newer ones,
// or has gone. When ctx ends first the error is a [PendingError] that names who has not, or says that etcd cannot be asked.
func (s *Server) Acknowledged(ctx context.Context, service string, revision int64) error {
	if err := s.current(ctx, service, revision); err != nil {
		return fmt.Errorf("wait for clients of %s: %w", service, err)
	}
	return s.acknowledged(ctx, service)
}

// acknowledged waits for the clients to acknowledge what they are told now.
func (s *Server) acknowledged(ctx context.Context, service string) error {
	wanted := s.newest(service)
	for {
		s.mu.Lock()
		news, streams := s.listenLocked(), s.streamsLocked()
		s.mu.Unlock()
		streams = slices.DeleteFunc(streams, func(st *stream) bool { return !st.behind(wanted) })
		if len(streams) == 0 {
			return nil
		}
		select {
		case <-news:
			continue
		case <-ctx.Done():
		case <-s.ctx.Done():
			return errStopping
		}
		pending := &PendingError{Cause: context.Cause(ctx)}
		for _, st := range streams {
			pending.Clients = append(pending.Clients, st.client())
		}
		return fmt.Errorf("wait for clients of %s: %w", service, pending)
	}
}

// newest returns what the clients of a service are told of its endpoints now.
func (s *Server) newest(service string) map[*cell]uint64 {
	s.mu.Lock()
	sv := s.services[service]
	s.mu.Unlock()
	if sv == nil {
		return nil
	}
	sv.mu.Lock()
	defer sv.mu.Unlock()
	seqs := map[*cell]uint64{}
	for key, c := range sv.cells {
		if r := c.resource.Load(); r != nil && key.kind == endpoints && !key.stance.hidden {
			seqs[c] = r.seq
		}
	}
	return seqs
}

// behind reports whether the client has not acknowledged what it is told in the given cells.
func (st *stream) behind(wanted map[*cell]uint64) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	w := st.types[endpoints]
	if w == nil {
		return false
	}
	for _, sub := range w.subs {
		if seq, is := wanted[sub.cell]; is && sub.acked < seq {
			return true
		}
	}
	return false
}
