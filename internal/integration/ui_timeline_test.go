package integration

import (
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/faultproxy"
)

func TestTheTimelineTellsWhatHappensAsItDoesAndAfterwards(t *testing.T) {
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	link := faultproxy.Start(t, etcd.Endpoint())
	dying := open(t, link.Addr())
	server := serveProcess(t, etcd)
	page := browse(t, server.url())
	page.open("/timeline")
	page.says(".empty", "Nothing has happened yet")
	page.says(".ends", "The history begins here")
	ask[bool](page, `window.same = true`)

	register(t, dying, "shop", rollcall.Instance{ID: "dying", Addr: "10.0.0.1:80"}, rollcall.WithTTL(rollcall.MinTTL))
	page.tells("joined", "shop dying 10.0.0.1:80")
	link.BlackHole() // its program hangs, and whatever it might still say does not arrive
	leaving := register(t, reg, "shop", rollcall.Instance{ID: "leaving", Addr: "10.0.0.2:80", Zone: "a"})
	page.tells("joined", "shop leaving")
	steer(t, reg, "shop", "leaving", rollcall.Override{Drain: true, Reason: "<img src=x onerror=hurt()> \u202e disk", Author: "ada"})
	page.tells("drained", "by ada: <img src=x onerror=hurt()> U+202E disk")
	if err := leaving.Deregister(within(t, seeing)); err != nil {
		t.Fatal(err)
	}
	page.tells("left", "shop leaving")
	page.tells("expired", "shop dying")
	page.until(`document.querySelector(".events li .kind").textContent.match(/left|expired/)`) // the newest is the first
	page.accessible("the timeline")
	if !ask[bool](page, `window.same === true`) {
		t.Error("the page was loaded anew")
	}

	page.open("/timeline?service=shop&kind=drained,expired")
	page.until(`[...document.querySelectorAll(".events .kind")].map((e) => e.textContent).sort().join() === "drained,expired"`)
	page.says(".kinds summary", "expired, drained")
	page.open("/timeline?actor=ada")
	page.until(`document.querySelectorAll(".events li").length === 1`)
	page.tells("drained", "by ada")
	page.open("/timeline?to=2020-01-01T00:00:00Z")
	page.says(".empty", "Nothing that happened is like that")
	page.choose(".empty", "Show all")
	page.tells("expired", "shop dying")
	page.until(`location.search === ""`)
	page.do(chromedp.Click(chromedp.CSS(`input[type="search"]`)), chromedp.KeyEvent("shop"))
	page.until(`location.search === "?service=shop" && document.querySelectorAll(".events li").length === 5`)
	if ask[bool](page, `document.querySelector("#app img") !== null`) {
		t.Error("what somebody gave as his reason has become a part of the page")
	}
	link.Heal()
}

// Beside what is told as it happens the page reads the newest events, and what it read may be older than what it was told meanwhile.
func TestTheTimelineKeepsWhatItIsToldWhileItReads(t *testing.T) {
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	register(t, reg, "first", rollcall.Instance{ID: "a", Addr: "10.0.0.1:80"})
	page := browse(t, serveProcess(t, etcd).url())
	page.open("/services")
	page.says("tbody a", "first")
	ask[bool](page, `{
		const real = fetch;
		window.fetch = async (...args) => {
			const answer = await real(...args);
			if (String(args[0]).startsWith("/v1/history?")) await new Promise((release) => (window.release = release));
			return answer;
		};
		true }`)
	page.click(`nav a[href="/timeline"]`)
	page.until(`window.release`)
	ask[bool](page, `{ const release = window.release; window.release = undefined; release(); true }`)
	page.until(`window.release`) // the stream has begun, and the page reads once more
	register(t, reg, "second", rollcall.Instance{ID: "b", Addr: "10.0.0.2:80"})
	page.until(`document.querySelector("#known-services option[value=second]")`)
	ask[bool](page, `{ window.release(); true }`)
	page.tells("joined", "second b")
	page.tells("joined", "first a")
	page.until(`document.querySelectorAll(".events li").length === 2`)
}

func TestTheTimelineGoesOnWhenTheServerAndEtcdWereAway(t *testing.T) {
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	register(t, reg, "shop", rollcall.Instance{ID: "a", Addr: "10.0.0.1:80"})
	server := serveProcess(t, etcd)
	page := browse(t, server.url())
	page.open("/timeline")
	page.tells("joined", "shop a")
	server.kill()
	page.says(".banners", "The server is out of reach since")
	page.tells("joined", "shop a")
	register(t, reg, "shop", rollcall.Instance{ID: "b", Addr: "10.0.0.2:80"})
	server.start()
	page.tells("joined", "shop b")
	page.until(`document.querySelector(".banner") === null && document.querySelectorAll(".events li").length === 2`)
	etcd.Stop()
	page.tells("etcd lost", "the whole registry")
	page.says(".banners", "etcd is out of reach of the server since")
	etcd.Restart()
	page.tells("etcd back", "the whole registry")
	register(t, reg, "shop", rollcall.Instance{ID: "c", Addr: "10.0.0.3:80"})
	page.tells("joined", "shop c")
}

func TestTheTimelineShowsOlderEventsByScrolling(t *testing.T) {
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	inst := register(t, reg, "shop", rollcall.Instance{ID: "a", Addr: "10.0.0.1:80"})
	for n := range 250 {
		if err := inst.Update(within(t, seeing), func(i *rollcall.Instance) { i.Weight = 1 + n }); err != nil {
			t.Fatal(err)
		}
	}
	page := browse(t, serveProcess(t, etcd).url())
	page.open("/timeline?service=shop")
	page.tells("changed", "→ 250")
	page.says(".sum", "100 events so far")
	ask[bool](page, `{ scrollTo(0, document.body.scrollHeight); true }`)
	page.says(".sum", "200 events so far")
	ask[bool](page, `{ scrollTo(0, document.body.scrollHeight); true }`)
	page.until(`document.querySelectorAll(".events li").length === 251 && document.querySelector(".ends").textContent.includes("The history begins here")`)
	page.until(`[...document.querySelectorAll(".events li")].at(-1).textContent.includes("joined")`)
	register(t, reg, "shop", rollcall.Instance{ID: "b", Addr: "10.0.0.2:80"})
	page.until(`document.querySelector(".events li").textContent.includes("shop b")`)
}

// tells waits for an event of a kind, as its word says it, with a text in its line.
func (p *tab) tells(kind, text string) {
	p.t.Helper()
	p.until(`[...document.querySelectorAll(".events li")].some((e) => e.querySelector(".kind").textContent === ` + quote(kind) + ` && e.textContent.replace(/\s+/g, " ").includes(` + quote(text) + `))`)
}

func steer(t *testing.T, reg *rollcall.Registry, service, id string, o rollcall.Override) {
	t.Helper()
	if _, err := reg.SetOverride(within(t, seeing), service, id, o); err != nil {
		t.Fatal(err)
	}
}
