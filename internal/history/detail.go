package history

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/rollcall-io/rollcall"
)

// changed says what became what.
func changed(what, before, after string) string {
	if before == "" {
		before = "none"
	}
	if after == "" {
		after = "none"
	}
	return what + " " + before + " → " + after
}

// difference says in which respects what an instance says of itself differs, but for its state. Of metadata it names the keys only. Servers
// beat all the time, and that is no difference.
func difference(before, after *rollcall.Instance, server bool) string {
	var words []string
	add := func(what, from, to string) {
		if from != to {
			words = append(words, changed(what, from, to))
		}
	}
	add("addr", before.Addr, after.Addr)
	for _, name := range keysThatDiffer(before.Addrs, after.Addrs) {
		add("addr "+name, before.Addrs[name], after.Addrs[name])
	}
	add("weight", fmt.Sprint(before.Weight), fmt.Sprint(after.Weight))
	add("zone", before.Zone, after.Zone)
	add("version", before.Version, after.Version)
	add("ttl", before.TTL.String(), after.TTL.String())
	if !reflect.DeepEqual(before.Check, after.Check) {
		words = append(words, "check")
	}
	for _, name := range keysThatDiffer(before.Metadata, after.Metadata) {
		if !server || name != beat {
			words = append(words, "metadata "+name)
		}
	}
	if string(before.RawMetadata) != string(after.RawMetadata) {
		words = append(words, "metadata")
	}
	return strings.Join(words, ", ")
}

func keysThatDiffer(a, b map[string]string) []string {
	names := map[string]bool{}
	for _, m := range []map[string]string{a, b} {
		for name := range m {
			was, had := a[name]
			is, has := b[name]
			if was != is || had != has {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}
