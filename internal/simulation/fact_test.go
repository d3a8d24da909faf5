package simulation

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// fact is what lies under an instance's key, read without the library.
type fact struct {
	revision int64
	lease    int64

	Addr        string
	Incarnation string
	State       string
	Weight      int
}

// leaving reports whether it is a goodbye, and so no instance any more.
func (f fact) leaving() bool { return f.State == "leaving" }

// factOf reads a key-value pair.
func factOf(kv *mvccpb.KeyValue) fact {
	f := fact{revision: kv.ModRevision, lease: kv.Lease}
	if err := json.Unmarshal(kv.Value, &f); err != nil {
		panic("simulation: a value that the oracle cannot read: " + string(kv.Value))
	}
	if f.Weight == 0 {
		f.Weight = 100
	}
	return f
}

// factsOf reads everything under the service's directory.
func factsOf(keys map[string]*mvccpb.KeyValue) map[string]fact {
	facts := map[string]fact{}
	for key, kv := range keys {
		facts[strings.TrimPrefix(key, dir)] = factOf(kv)
	}
	return facts
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
