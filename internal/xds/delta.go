package xds

import (
	"maps"
	"slices"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// changes takes a request of a client that wants to be told of changes. Each says what it wants more, and what no longer.
func (st *stream) changes(r *discovery.DeltaDiscoveryRequest) error {
	k, known := kindOf(r.GetTypeUrl())
	if !known {
		return nil
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
	first := w == nil
	if first {
		w = &watch{kind: k}
		st.types[k] = w
	} else if nonce := r.GetResponseNonce(); nonce != "" {
		st.heard(w, nonce, r.GetErrorDetail().GetMessage(), r.GetErrorDetail() != nil)
	}
	if err := st.subscribe(w, r, first); err != nil {
		return err
	}
	st.unsubscribe(w, r.GetResourceNamesUnsubscribe())
	st.due(w)
	return nil
}

// subscribe adds names. One that is asked for again is sent again: the client may have forgotten it meanwhile.
func (st *stream) subscribe(w *watch, r *discovery.DeltaDiscoveryRequest, first bool) error {
	names := r.GetResourceNamesSubscribe()
	all := slices.Contains(names, wildcard) || first && len(names) == 0
	for _, text := range names {
		if text == wildcard {
			continue
		}
		if _, valid := parseName(w.kind, text); !valid {
			w.must = true
			w.missing = append(w.missing, text)
		} else {
			sub, _ := st.want(w, text, false)
			sub.sent = 0
		}
		if err := st.withinLimit(w); err != nil {
			return err
		}
	}
	initial := r.GetInitialResourceVersions()
	if all {
		w.must = w.must || first && len(initial) == 0
		st.wantAll(w, true)
	}
	if !first {
		return nil
	}
	// What the client has from before is not sent again. What it has because it wants everything stays its own.
	for _, text := range slices.Sorted(maps.Keys(initial)) {
		if _, valid := parseName(w.kind, text); w.everything && valid && len(w.subs) < st.s.cfg.MaxSubscriptions {
			st.want(w, text, true)
		}
		if sub := w.subs.get(text); sub != nil {
			sub.initial = initial[text]
		}
	}
	return nil
}

func (st *stream) unsubscribe(w *watch, names []string) {
	for _, text := range names {
		if text == wildcard {
			w.everything = false
			st.drop(w, func(sub *subscription) bool { return !sub.implied })
			continue
		}
		if sub := w.subs.get(text); sub != nil && w.everything { // it still has it with everything
			if !sub.implied {
				sub.implied, w.asked = true, w.asked-1
			}
			sub.sent = 0
			continue
		}
		st.dropOne(w, text)
	}
}
