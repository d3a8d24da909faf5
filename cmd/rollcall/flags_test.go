package main

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestADurationPrintsWithoutWhatIsZero(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]time.Duration{
		"0": 0, "15s": 15 * time.Second, "1m": time.Minute, "1m30s": 90 * time.Second, "24h": 24 * time.Hour, "1h0m1s": time.Hour + time.Second,
		"10m": 10 * time.Minute, "1h30m": 90 * time.Minute, "300ms": 300 * time.Millisecond,
	} {
		if got := lasting(d).String(); got != want {
			t.Errorf("%d ns prints as %s, want %s", d, got, want)
		}
	}
}

func TestASizeIsBytesOrANumberOfUnits(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "512B": 512, "1KiB": 1 << 10, "64MiB": 64 << 20, "2GiB": 2 << 30, "1536MiB": 3 << 29,
		"9223372036854775807": math.MaxInt64,
	} {
		var s size
		if err := s.Set(text); err != nil || int64(s) != want {
			t.Errorf("%q is %d, %v; want %d", text, s, err, want)
		}
		var again size
		if err := again.Set(s.String()); err != nil || again != s {
			t.Errorf("%q prints as %q, which is %d, %v", text, s.String(), again, err)
		}
	}
}

func TestASizeThatIsNoneIsRefused(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "GiB", "-1", "-1KiB", "1.5GiB", "1 GiB", "2GB", "2G", "9223372036854775808", "9007199254740992KiB"} {
		var s size
		if err := s.Set(text); err == nil {
			t.Errorf("%q is taken for %d bytes", text, s)
		}
	}
}

func TestTheQuotaPrintsWithItsUnit(t *testing.T) {
	t.Parallel()
	for bytes, want := range map[size]string{0: "0", 1: "1B", 2 << 30: "2GiB", 3 << 29: "1536MiB", 1025: "1025B"} {
		if got := bytes.String(); got != want {
			t.Errorf("%d bytes print as %q, want %q", int64(bytes), got, want)
		}
	}
}

func TestEndpointsAreSplitAtCommas(t *testing.T) {
	t.Parallel()
	var got endpoints
	if err := got.Set("10.0.0.1:2379, http://[::1]:2379,https://etcd.example:2379/"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(endpoints{"10.0.0.1:2379", "http://[::1]:2379", "https://etcd.example:2379"}, got); diff != "" {
		t.Error(diff)
	}
	if err := got.Set(""); err != nil || len(got) != 0 {
		t.Errorf("an empty list is %v, %v", got, err)
	}
}

func TestAnEndpointWithoutHostAndPortIsRefusedByName(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"localhost", ":2379", "host:", "host:0", "host:etcd", "ftp://host:2379", "http://host", "host:2379/path", "a b:1", "10.0.0.1:2379,"} {
		var e endpoints
		err := e.Set(bad)
		if err == nil {
			t.Errorf("%q is taken for endpoints %v", bad, e)
		} else if last := bad[strings.LastIndex(bad, ",")+1:]; !strings.Contains(err.Error(), fmt.Sprintf("%q", last)) {
			t.Errorf("the error about %q does not name it: %v", bad, err)
		}
	}
}
