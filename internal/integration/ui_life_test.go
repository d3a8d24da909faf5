package integration

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	clientv3 "go.etcd.io/etcd/client/v3"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/faultproxy"
)

func TestAKilledProcessIsOnThePageUntilItsLeaseEnds(t *testing.T) {
	const ttl = 5 * time.Second
	etcd := etcdtest.Start(t)
	register(t, open(t, etcd.Endpoint()), "shop", rollcall.Instance{Addr: "10.0.0.1:80"})
	victim := startProcess(t, etcd.Endpoint(), "shop", "10.0.0.2:80", ttl)
	page := browse(t, serveProcess(t, etcd).url())
	page.open("/services/shop/" + url.PathEscape("10.0.0.2:80"))
	page.says(".heading .state", "serving")
	killed := time.Now()
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	page.says(".notice", "It is gone without a goodbye")
	after := time.Since(killed)
	if after < ttl/2 || after > ttl+2*time.Second {
		t.Errorf("the page says after %v that it is gone, of a TTL of %v", after, ttl)
	}
	page.says(".heading .state", "gone")
	page.says(".facts", "10.0.0.2:80") // as it was last
	page.says(".events", "expired")
	page.lacks(".acts button")
	page.click(`.crumbs a[href="/services/shop"]`)
	page.says(".heading .sum", "1 serving")
	page.lacks(`a[href$="10.0.0.2%3A80"]`)
}

func TestWhatChangedWhileTheServerWasAwayIsCaughtUpWithWhereOneStands(t *testing.T) {
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	first := register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.1:80"})
	second := register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.2:80"})
	server := serveProcess(t, etcd)
	page := browse(t, server.url())
	page.open("/services/shop")
	page.says("tbody th a", "10.0.0.2:80")
	page.says(".pulse", "live")
	page.keepInMind()
	away := time.Now()
	server.kill()
	page.since("The server is out of reach", away)
	page.says(".pulse", "out of reach")
	page.says(".heading .sum", "2 serving")
	if err := first.Deregister(within(t, seeing)); err != nil {
		t.Fatal(err)
	}
	if err := second.Drain(within(t, seeing)); err != nil {
		t.Fatal(err)
	}
	register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.3:80"})
	server.start()
	page.says(".heading .sum", "1 serving, 1 draining")
	page.says("tbody th a", "10.0.0.3:80")
	page.lacks(`a[href$="10.0.0.1%3A80"]`)
	page.lacks(".banner")
	page.says(".pulse", "live")
	page.sameAsBefore()
	if !ask[bool](page, `resumed.length > 0`) {
		t.Error("the page asked for all of it again, and not for what came behind what it had")
	}
}

func TestWhileEtcdIsOutOfReachOfTheServerThePageKeepsWhatItHasAndSaysSinceWhen(t *testing.T) {
	etcd := etcdtest.Start(t)
	link := faultproxy.Start(t, etcd.Endpoint())
	reg := open(t, etcd.Endpoint())
	first := register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.1:80"})
	page := browse(t, serveProcessWith(t, "--etcd", link.Addr()).url())
	page.open("/services/shop")
	page.says("tbody th a", "10.0.0.1:80")
	page.keepInMind()
	away := time.Now()
	link.Cut()
	page.since("etcd is out of reach of the server", away)
	page.says(".pulse", "stale")
	register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.2:80"})
	if err := first.Deregister(within(t, seeing)); err != nil {
		t.Fatal(err)
	}
	page.open("/services/shop") // who comes only now is told the same
	page.since("etcd is out of reach of the server", away)
	page.says("tbody th a", "10.0.0.1:80")
	page.keepInMind()
	link.Heal()
	page.says("tbody th a", "10.0.0.2:80")
	page.lacks(`a[href$="10.0.0.1%3A80"]`)
	page.lacks(".banner")
	page.sameAsBefore()
}

func TestAnInstanceThatFailsItsCheckIsShownWithWhatWasFound(t *testing.T) {
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	sick, own := examined(t, reg, quick)
	register(t, reg, grpcService, rollcall.Instance{Addr: "10.0.0.1:80"})
	page := browse(t, serveProcess(t, etcd).url())
	row := `tr:has(a[href$="` + url.QueryEscape(sick.addr) + `"])`
	page.open("/services/" + grpcService)
	page.says(row+" .state", "serving")
	own.SetServingStatus("", healthpb.HealthCheckResponse_NOT_SERVING)
	page.says(row+" .state", "unhealthy")
	page.says(row+" .note", "check: NOT_SERVING")
	page.says(".heading .sum", "1 serving, 1 unhealthy")
	page.accessible("a service with one that fails its check")
	page.click(row + " th a")
	page.says(".heading .state", "unhealthy")
	page.says("section:has(#check) .facts", "grpc")
	page.says("section:has(#check) .facts", "every 1s, down after 2 failures")
	page.says("section:has(#check) .facts .note", "NOT_SERVING")
	page.says(".events", "unhealthy")
	own.SetServingStatus("", healthpb.HealthCheckResponse_SERVING)
	page.says(".heading .state", "serving")
	page.says("section:has(#check) .facts", "nothing is known against it")
}

func TestLossesThatAreDoubtedAreShownAsSuchUntilSomebodyBelievesThem(t *testing.T) {
	etcd := etcdtest.Start(t)
	client := etcd.Client(t)
	var held []clientv3.LeaseID
	for n := range 4 { // held by nobody who would heal them
		lease, err := client.Grant(within(t, seeing), 60)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Put(within(t, seeing), fmt.Sprintf("rollcall/services/shop/%d", n), bare, clientv3.WithLease(lease.ID)); err != nil {
			t.Fatal(err)
		}
		held = append(held, lease.ID)
	}
	register(t, open(t, etcd.Endpoint()), "shop", rollcall.Instance{ID: "well", Addr: "10.0.0.9:80"})
	page := browse(t, serveProcess(t, etcd).url())
	page.open("/services/shop")
	page.says(".heading .sum", "5 serving")
	for _, id := range held {
		if _, err := client.Revoke(within(t, seeing), id); err != nil {
			t.Fatal(err)
		}
	}
	page.says(".notice", "The leases of 4 ended together")
	for n := range held { // those among them that were believed to be gone at first
		page.says(fmt.Sprintf(`tr:has(a[href="/services/shop/%d"]) .state`, n), "suspect")
		page.says(fmt.Sprintf(`tr:has(a[href="/services/shop/%d"]) .note`, n), "it may be alive")
	}
	page.says(".heading .sum", "1 serving, 4 suspect")
	page.accessible("a service with suspects")
	page.click(`a[href="/services/shop/0"]`)
	page.says(".heading .state", "suspect")
	page.says(".heading .sum", "its lease ended in doubtful circumstances")
	ask[bool](page, `history.back() ?? true`)
	page.choose(".notice", "Believe the losses")
	page.fill("Why", "the rack has burned")
	page.do(chromedp.KeyEvent(kb.Enter))
	page.lacks(".notice")
	page.until(`document.querySelectorAll("tbody th a").length === 1`)
	page.says("tbody th a", "well")
	page.says(".heading .sum", "1 serving")
}

func TestAnInstanceThatIsBackBeforeItsRowWasTakenAwayIsDrawnAsItIsNow(t *testing.T) {
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	leaver := register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.1:80", Version: "v1"})
	page := browse(t, serveProcess(t, etcd).url())
	page.open("/services/shop")
	page.says("tbody .version", "v1")
	ask[bool](page, `{ const plain = setTimeout; window.setTimeout = (f, ms) => plain(f, ms === 30 ? 3000 : ms); true }`) // lists are made anew so much later
	const rev = `/rev \d+/.exec(document.querySelector(".heading").textContent)[0]`
	ask[bool](page, `Boolean(window.before = `+rev+`)`)
	if err := leaver.Deregister(within(t, seeing)); err != nil {
		t.Fatal(err)
	}
	page.until(rev + ` !== before`) // the page has heard of it
	register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.1:80", Version: "v2"})
	page.says("tbody .version", "v2")
	page.says(".heading .sum", "1 serving")
}

func TestAPageThatOneComesBackToShowsWhatIsNow(t *testing.T) {
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.1:80"})
	page := browse(t, serveProcess(t, etcd).url())
	page.open("/services/shop")
	page.says("tbody th a", "10.0.0.1:80")
	page.keepInMind()

	ask[bool](page, `addEventListener("pageshow", (e) => (window.persisted = e.persisted)) ?? true`)
	page.open("/readyz") // elsewhere; the browser keeps the page for who goes back
	page.untilWatched("shop", 0)
	register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.2:80"})
	ask[bool](page, `history.back() ?? true`)
	page.says("tbody th a", "10.0.0.2:80")
	page.lacks(".banner")
	page.until(`window.persisted`)

	// Nobody looks for a minute, which this page's clock makes short.
	ask[bool](page, `{ const plain = setTimeout; window.setTimeout = (f, ms) => plain(f, ms >= 60_000 ? 50 : ms); true }`)
	ask[bool](page, `Object.defineProperty(document, "hidden", {configurable: true, value: true}) && document.dispatchEvent(new Event("visibilitychange"))`)
	page.untilWatched("shop", 0)
	register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.3:80"})
	ask[bool](page, `delete document.hidden && document.dispatchEvent(new Event("visibilitychange"))`)
	page.says("tbody th a", "10.0.0.3:80")
	page.lacks(".banner")
	page.sameAsBefore()
}

// keepInMind leaves something in the page that loading it anew would lose, and has it note from where on streams are asked for.
func (p *tab) keepInMind() {
	p.t.Helper()
	ask[bool](p, `{
		window.same = true;
		window.resumed = [];
		const plain = window.fetch;
		window.fetch = (path, options) => {
			const last = options?.headers?.["Last-Event-ID"];
			if (last) resumed.push(last);
			return plain(path, options);
		};
		true
	}`)
}

func (p *tab) sameAsBefore() {
	p.t.Helper()
	if !ask[bool](p, `window.same === true`) {
		p.t.Error("the page was loaded anew")
	}
}

// since waits for the banner that says so, and wants it to say since when.
func (p *tab) since(what string, began time.Time) {
	p.t.Helper()
	p.says(".banner", what)
	text := ask[string](p, `document.querySelector(".banner time").dateTime`)
	said, err := time.Parse(time.RFC3339, text)
	if err != nil || said.Before(began.Add(-time.Second)) || said.After(began.Add(10*time.Second)) {
		p.t.Errorf("%s since %s (%v), but it is since %v", what, text, err, began.UTC())
	}
}
