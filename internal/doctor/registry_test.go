package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/rollcall-io/rollcall"
)

func TestKeysAreReadAsReadersReadThem(t *testing.T) {
	t.Parallel()
	p := newPatient(Input{Prefix: "rollcall"})
	key := func(name, text string, lease int64) instanceKey {
		k := instanceKey{key: "rollcall/services/" + name, lease: lease, revision: 7}
		k.service, k.id = p.named(k.key)
		k.value, k.err = decode([]byte(text))
		return k
	}
	well := key("web/10.0.0.1:80", `{"Op":0,"Addr":"10.0.0.1:80","Metadata":{"beat":"not a time"},"TTL":15}`, 1)
	if well.err != nil || well.service != "web" || well.id != "10.0.0.1:80" || well.ttl != 15*time.Second {
		t.Errorf("an instance is read as %+v", well)
	}
	if got := key("web/unix:%2Frun%2Fx", `{"Addr":"a:1"}`, 1).id; got != "unix:/run/x" {
		t.Errorf("an escaped id is read as %q", got)
	}
	if got := key("web/100%41", `{"Addr":"a:1"}`, 1).id; got != "100%41" {
		t.Errorf("what is no escape of ours is read as %q", got)
	}
	got := told(judgeKeys([]instanceKey{
		well,
		key("web/2", `{"Addr":"10.0.0.2:80"}`, 0),
		key("web/3", `{"Addr":""}`, 1),
		key("stock/4", `not JSON`, 0),
		key("large/5", `{"Addr":"`+strings.Repeat("x", maxValue)+`"}`, 1),
		key("a/b/c", `{"Addr":"10.0.0.2:80"}`, 0),
		key("-bad/6", `{"Addr":"10.0.0.2:80"}`, 0),
	}))
	want := []string{"notice key-foreign", "warning key-without-lease web", "warning value-unreadable large", "warning value-unreadable stock", "warning value-unreadable web"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

func TestOfThousandsOnlySomeAreNamed(t *testing.T) {
	t.Parallel()
	var keys []instanceKey
	for n := range 1000 {
		keys = append(keys, instanceKey{key: fmt.Sprint(n), service: "web", id: fmt.Sprint(n), value: value{addr: "x:1"}})
	}
	found := judgeKeys(keys)
	if len(found) != 1 || len(found[0].Evidence) != maxEvidence+1 || found[0].Evidence[maxEvidence] != "and 995 more" {
		t.Errorf("a thousand keys are told as %v", found)
	}
}

func TestLeasesAreJudgedByTheirNumberAndBySome(t *testing.T) {
	t.Parallel()
	limit := Thresholds{}.withDefaults()
	var empty, used []*pb.LeaseTimeToLiveResponse
	for range 20 {
		empty = append(empty, &pb.LeaseTimeToLiveResponse{})
		used = append(used, &pb.LeaseTimeToLiveResponse{Keys: [][]byte{{1}}})
	}
	for name, row := range map[string]struct {
		total  int
		sample []*pb.LeaseTimeToLiveResponse
		want   []string
	}{
		"few":                 {9_999, used, nil},
		"many":                {10_000, used, []string{"notice many-leases"}},
		"many without a key":  {2_000, empty, []string{"warning leases-without-keys"}},
		"some without a key":  {2_000, append(used[:15:15], empty[:5]...), nil},
		"too few to be asked": {2_000, empty[:9], nil},
	} {
		if diff := cmp.Diff(row.want, told(judgeLeases(row.total, row.sample, limit))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestALeaseIsLateWhenTwoHeartbeatsWereMissed(t *testing.T) {
	t.Parallel()
	holds := map[int64][]string{1: {"web/a", "web/b"}}
	for _, row := range []struct {
		left, granted int64
		late          bool
	}{{15, 15, false}, {9, 15, false}, {6, 15, false}, {5, 15, true}, {0, 15, true}, {3, 5, false}, {2, 5, false}, {1, 5, true}, {-1, 0, false}} {
		found := judgeRenewal([]*pb.LeaseTimeToLiveResponse{{ID: 1, TTL: row.left, GrantedTTL: row.granted}}, holds)
		if (len(found) > 0) != row.late {
			t.Errorf("%d of %d s left: %v, want a finding: %t", row.left, row.granted, found, row.late)
		}
	}
}

func TestALeaseIsPickedFromAllOver(t *testing.T) {
	t.Parallel()
	all := []int64{1, 2, 3, 4, 5, 6, 7, 8, 9}
	if diff := cmp.Diff([]int64{1, 4, 7}, spread(all, 3)); diff != "" {
		t.Errorf("three of nine (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(all, spread(all, 9)); diff != "" {
		t.Errorf("nine of nine (-want +got):\n%s", diff)
	}
}

func TestTTLsExpiriesAndAddressesOutOfTheOrdinaryAreTold(t *testing.T) {
	t.Parallel()
	limit := Thresholds{}.withDefaults()
	at := func(service, id, addr string, ttl time.Duration) instanceKey {
		return instanceKey{service: service, id: id, value: value{addr: addr, ttl: ttl}}
	}
	keys := []instanceKey{
		at("web", "a", "10.0.0.1:80", 15*time.Second), at("web", "b", "10.0.0.1:80", 5*time.Second), at("bare", "c", "10.0.0.1:80", 0),
		at("stock", "d", "127.0.0.1:80", 3*time.Second), at("old", "e", "[::1]:80", time.Hour), at(serverService, "s", "127.0.0.1:7051", 15*time.Second),
	}
	if diff := cmp.Diff([]string{"notice ttl-long old", "warning ttl-short stock"}, told(judgeTTLs(keys, limit))); diff != "" {
		t.Errorf("TTLs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"notice address-shared web", "warning address-loopback old", "warning address-loopback stock"}, told(judgeAddresses(keys, true))); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"notice address-shared web"}, told(judgeAddresses(keys, false))); diff != "" {
		t.Errorf("addresses on one machine (-want +got):\n%s", diff)
	}
	for _, row := range []struct {
		seen Expiries
		want bool
	}{{Expiries{9, time.Hour}, false}, {Expiries{10, time.Hour}, true}, {Expiries{10, 10 * time.Hour}, false}, {Expiries{100, 10 * time.Hour}, true}, {Expiries{9, time.Minute}, false}} {
		if found := judgeExpiries(row.seen, 20, limit); (len(found) > 0) != row.want {
			t.Errorf("%d expiries of 20 instances in %v: %v, want a finding: %t", row.seen.Count, row.seen.Within, found, row.want)
		}
	}
}

func TestExpiriesOfAMinuteAreNotThoseOfAnHourSixtyTimes(t *testing.T) {
	t.Parallel()
	if found := judgeExpiries(Expiries{10, time.Minute}, 100, Thresholds{}.withDefaults()); len(found) > 0 {
		t.Errorf("10 of 100 instances went in the first minute: %v", found)
	}
}

func TestDecisionsAboutNobodyAreToldWhenTheyAreOld(t *testing.T) {
	t.Parallel()
	limit, now := Thresholds{}.withDefaults(), time.Now()
	day := now.Add(-24 * time.Hour)
	keys := []instanceKey{{service: "web", id: "a"}}
	for name, row := range map[string]struct {
		decision decision
		oldest   int64
		want     bool
	}{
		"about somebody":               {decision{service: "web", id: "a", since: day}, 1, false},
		"about a service that is":      {decision{service: "web", since: day}, 1, false},
		"about nobody, new":            {decision{service: "web", id: "b", since: now.Add(-23 * time.Hour)}, 1, false},
		"about nobody, old":            {decision{service: "web", id: "b", since: day}, 1, true},
		"about no service, old":        {decision{service: "gone", since: day}, 1, true},
		"about nobody, age not known":  {decision{service: "web", id: "b", revision: 5}, 1, false},
		"about nobody, before history": {decision{service: "web", id: "b", revision: 5}, 6, true},
	} {
		found := judgeDecisions([]decision{row.decision}, keys, past{oldest: row.oldest}, now, limit)
		if (len(found) > 0) != row.want {
			t.Errorf("%s: %v, want a finding: %t", name, found, row.want)
		}
	}
}

func TestAServiceIsReadyByOneInstance(t *testing.T) {
	t.Parallel()
	serving := &rollcall.Instance{ID: "a", State: rollcall.StateServing}
	drained := &rollcall.Instance{ID: "b", State: rollcall.StateServing, Override: &rollcall.Override{Drain: true}}
	suspect := &rollcall.Instance{ID: "c", State: rollcall.StateServing, Suspect: true}
	got := judgeServices([]*rollcall.View{
		{Service: "empty"},
		{Service: "well", Instances: []*rollcall.Instance{drained, serving}},
		{Service: "ill", Instances: []*rollcall.Instance{drained, suspect}},
	})
	if diff := cmp.Diff([]string{"warning service-nobody-ready ill"}, told(got)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if want := "2 instances: 1 suspect, 1 draining, 0 unhealthy"; got[0].Evidence[0] != want {
		t.Errorf("evidence is %q, want %q", got[0].Evidence[0], want)
	}
}

func TestARegistryThatKnowsOfItsTroubleTellsIt(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for name, row := range map[string]struct {
		status rollcall.Status
		want   []string
	}{
		"well":    {rollcall.Status{Services: []rollcall.ServiceStatus{{Service: "web"}}}, nil},
		"cut off": {rollcall.Status{UnreachableSince: now.Add(-time.Second), LastError: errors.New("refused")}, []string{"critical registry-cut-off"}},
		"stale":   {rollcall.Status{Services: []rollcall.ServiceStatus{{Service: "web", StaleSince: now.Add(-time.Second)}}}, []string{"warning view-stale"}},
		"long":    {rollcall.Status{Services: []rollcall.ServiceStatus{{Service: "web", StaleSince: now.Add(-2 * time.Minute)}}}, []string{"critical view-stale"}},
	} {
		if diff := cmp.Diff(row.want, told(judgeStatus(row.status, now))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAViewIsBehindByItsRevisions(t *testing.T) {
	t.Parallel()
	o := &rollcall.Overview{Services: []*rollcall.View{{Service: "a"}, {Service: "web", Instances: []*rollcall.Instance{{ID: "x", Revision: 7}}}}}
	for _, row := range []struct {
		service, id string
		revision    int64
		has         bool
	}{{"web", "x", 7, true}, {"web", "x", 6, true}, {"web", "x", 8, false}, {"web", "y", 7, false}, {"b", "x", 7, false}} {
		if got := has(o, instanceKey{service: row.service, id: row.id, revision: row.revision}); got != row.has {
			t.Errorf("has %s/%s of revision %d: %t", row.service, row.id, row.revision, got)
		}
	}
}

func TestClocksAreComparedInWholeSeconds(t *testing.T) {
	t.Parallel()
	limit, now := Thresholds{}.withDefaults(), time.Now()
	for _, row := range []struct {
		ahead time.Duration
		want  bool
	}{{0, false}, {4 * time.Second, false}, {5 * time.Second, true}, {-5 * time.Second, false}, {-6 * time.Second, true}, {time.Hour, true}} {
		if found := judgeClock("a", now.Add(row.ahead), now, limit); (len(found) > 0) != row.want {
			t.Errorf("a clock ahead by %v: %v, want a finding: %t", row.ahead, found, row.want)
		}
	}
	got := told(judgeSigns([]instanceKey{
		{service: "web", id: "a", value: value{registered: now.Add(-time.Hour)}},
		{service: "web", id: "b", value: value{registered: now.Add(time.Minute)}},
		{service: serverService, id: "s1", value: value{registered: now.Add(-time.Hour), beat: now.Add(-11 * time.Second)}},
		{service: serverService, id: "s2", value: value{registered: now.Add(-time.Hour), beat: now.Add(-time.Minute)}},
	}, now, limit))
	if diff := cmp.Diff([]string{"warning clock-skew web", "warning server-beat-late s2"}, got); diff != "" {
		t.Errorf("signs (-want +got):\n%s", diff)
	}
}

func TestACertificateThatHasEndedIsSeenWhereItIsShown(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ended"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(-time.Minute)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	shows := httptest.NewUnstartedServer(http.NotFoundHandler())
	shows.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of whoever says nothing
	shows.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	shows.StartTLS()
	t.Cleanup(shows.Close)
	p := newPatient(Input{TLS: &tls.Config{}, Thresholds: Thresholds{}.withDefaults()})
	chain, err := p.chainOf(t.Context(), shows.Listener.Addr().String())
	if err != nil || len(chain) != 1 || chain[0].Subject.CommonName != "ended" {
		t.Errorf("it shows %v, %v", chain, err)
	}
}

func TestACertificateIsWorseTheSoonerItEnds(t *testing.T) {
	t.Parallel()
	limit, now := Thresholds{}.withDefaults(), time.Now()
	const day = 24 * time.Hour
	for _, row := range []struct {
		begins, ends time.Duration
		want         Severity
	}{{-day, 31 * day, 0}, {-day, 30 * day, Warning}, {-day, 7*day + time.Minute, Warning}, {-day, 7 * day, Critical}, {-day, -time.Minute, Critical}, {time.Hour, 365 * day, Critical}} {
		cert := &x509.Certificate{Subject: pkix.Name{CommonName: "etcd"}, NotBefore: now.Add(row.begins), NotAfter: now.Add(row.ends)}
		found := judgeCertificates([]shown{{"here", []*x509.Certificate{cert}}}, now, limit)
		if got := (Report{Findings: found}).Worst(); got != row.want {
			t.Errorf("good from %v to %v: %v, want %v", row.begins, row.ends, got, row.want)
		}
	}
}
