package xds

import (
	"slices"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// wildcard is the name that stands for everything.
const wildcard = "*"

// world takes a request of a client that wants the state of the world. Each names all that the client wants of a type.
func (st *stream) world(r *discovery.DiscoveryRequest) error {
	k, known := kindOf(r.GetTypeUrl())
	if !known {
		return nil // Envoy asks for types that there is nothing of
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.over != nil {
		return st.over
	}
	if r.GetNode() != nil && st.node == (node{}) {
		st.node = nodeOf(r.GetNode())
	}
	w := st.types[k]
	nonce := r.GetResponseNonce()
	switch {
	case w == nil || nonce == "": // the first of its type; a nonce is that of a stream before this one
		former := uint64(0)
		if w != nil {
			former = w.nonce
			st.forget(w)
		}
		w = &watch{kind: k, must: true, nonce: former, subs: make(subscriptions, 0, min(len(r.GetResourceNames()), st.s.cfg.MaxSubscriptions))}
		st.types[k] = w
	default:
		st.heard(w, nonce, r.GetErrorDetail().GetMessage(), r.GetErrorDetail() != nil)
		if nonce != w.lastNonce {
			return nil // it was sent before the client had our last response, to which it will answer
		}
	}
	if err := st.ask(w, r.GetResourceNames()); err != nil {
		return err
	}
	st.due(w)
	return nil
}

// due has sent what a request leads to: mostly it acknowledges, and leads to nothing.
func (st *stream) due(w *watch) {
	if w.must || w.changed() > 0 {
		st.wakeUp()
	}
}

// heard notes an acknowledgement or a refusal.
func (st *stream) heard(w *watch, nonce, detail string, refused bool) {
	if w.answered(nonce, refused, detail) && refused {
		st.s.counts.refusals.Add(1)
		st.s.cfg.Logger.Warn("an xDS client refuses what it was sent", "client", st.node.id, "resource", typeURLs[w.kind], "err", shortened(detail, maxDetail))
	}
	st.s.tell()
}

// ask makes the names what the client wants of a type.
func (st *stream) ask(w *watch, names []string) error {
	all := slices.Contains(names, wildcard) || len(names) == 0 && !w.ever
	if len(names) > 0 {
		w.ever = true
	}
	w.requests++
	for _, text := range names {
		if text == wildcard {
			continue
		}
		sub, fresh := st.want(w, text, false)
		sub.asked = w.requests
		if fresh {
			if sub.cell == nil {
				w.must, w.missing = true, append(w.missing, text)
			}
			if err := st.withinLimit(w); err != nil {
				return err
			}
		}
	}
	st.drop(w, func(sub *subscription) bool { return sub.asked == w.requests || all && sub.implied })
	st.wantAll(w, all)
	return nil
}

// wantAll subscribes to everything, or no longer. Only Envoy gets it, and only clusters: of listeners it would get one for each service.
func (st *stream) wantAll(w *watch, all bool) {
	before := w.everything
	w.everything = all && w.kind == clusters && st.node.envoy
	if w.everything && !before {
		st.wider = true
		st.wakeUp()
	}
}

// withinLimit is asked after each new name.
func (st *stream) withinLimit(w *watch) error {
	if limit := st.s.cfg.MaxSubscriptions; w.asked > limit || len(w.missing) > limit {
		st.s.counts.turnedAway.Add(1)
		return status.Errorf(codes.ResourceExhausted, "a stream may ask for %d names of a type", limit)
	}
	if limit := st.s.cfg.MaxTotal; st.s.subs.Load() > int64(limit) {
		st.s.counts.turnedAway.Add(1)
		return status.Errorf(codes.ResourceExhausted, "this server has been asked for %d names and takes no more", limit)
	}
	return nil
}

// widen has a stream that wants everything look what there is.
func (st *stream) widen() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if w := st.types[clusters]; w != nil && w.everything {
		st.wider = true
		st.wakeUp()
	}
}

// widenLocked asks for the services that are there and were not before. Those that go away stay until the stream ends: to be empty for a
// moment is no reason to be withdrawn.
func (st *stream) widenLocked() {
	w := st.types[clusters]
	if w == nil || !w.everything {
		return
	}
	for _, service := range st.s.names() {
		if st.sees(service) {
			st.want(w, service, true)
		}
	}
}

// names returns all services that somebody is registered for, or something decided.
func (s *Server) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, 0, len(s.views))
	for service := range s.views {
		names = append(names, service)
	}
	slices.Sort(names)
	return names
}
