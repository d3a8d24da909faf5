package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

func TestThePastIsShownAndComparedWithNow(t *testing.T) {
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	register(t, reg, "shop", rollcall.Instance{ID: "stays", Addr: "10.0.0.1:80", Zone: "a", Version: "v1"})
	gone := register(t, reg, "shop", rollcall.Instance{ID: "gone", Addr: "10.0.0.2:80", Zone: "b", Version: "v1"})
	page := browse(t, serveProcess(t, etcd).url())
	page.open("/timeline")
	page.tells("joined", "shop gone")
	steer(t, reg, "shop", "stays", rollcall.Override{Drain: true, Reason: "disk", Author: "ada"})
	page.tells("drained", "by ada: disk")
	if err := gone.Deregister(within(t, seeing)); err != nil {
		t.Fatal(err)
	}
	page.tells("left", "shop gone")
	register(t, reg, "mail", rollcall.Instance{ID: "later", Addr: "10.0.0.3:25"})
	page.tells("joined", "mail later")

	link := `[...document.querySelectorAll(".events li")].find((e) => e.textContent.includes("left")).querySelector(".then a")`
	before := ask[string](page, link+`.pathname.split("/")[3]`)
	ask[bool](page, link+`.click() ?? true`)
	page.says("h1", "shop as it was")
	page.says(".past-notice", "This is the past")
	page.says(".past-notice", "revision "+before)
	page.says(".past tbody tr", "servinggone 10.0.0.2:80b")
	page.says(".past tbody tr", "drainingstays 10.0.0.1:80drained by ada: disk")
	page.accessible("a service as it was")
	page.click(`.crumbs a[href^="/timeline/at/"]`)
	page.says("h1", "The registry as it was")
	page.says(`tr:has(a[href$="/shop"]) .bar`, "1 serving, 1 draining")
	page.says(`tr:has(a[href$="/shop"])`, "1 went")
	page.until(`[...document.querySelectorAll('tr:has(a[href$="/shop"]) .counts')].map((c) => c.title).join(";") === "a: 1\nb: 1;v1: 2"`)
	page.lacks(`.past a[href$="/mail"]`) // it was not there yet
	page.accessible("the registry as it was")
	ask[bool](page, `{ window.plain = fetch; window.fetch = (path, how) => String(path).startsWith("/v1/diff") ? plain("/v1/nothing", how) : plain(path, how); history.back(); true }`)
	page.says("h1", "shop as it was")
	ask[bool](page, `history.forward() ?? true`)
	page.says(`tr:has(a[href$="/shop"])`, "cannot be told") // and all else is there
	page.says(`tr:has(a[href$="/shop"]) .bar`, "1 serving, 1 draining")
	ask[bool](page, `{ window.fetch = plain; true }`)

	ask[bool](page, `[...document.querySelectorAll(".past-notice a")].find((a) => a.textContent === "What has changed since").click() ?? true`)
	page.says("h1", "What changed")
	page.says(".between", "2 instances in 2 services")
	page.says(".changed tr", "wentgone 10.0.0.2:80")
	page.says(".changed tr", "camelater 10.0.0.3:25")
	page.accessible("what changed")
	page.open("/timeline/compare?from=" + before + "&to=" + before)
	page.says(".between", "nothing changed")

	page.open("/timeline")
	page.choose(".heading", "Go back…")
	page.fill("Or etcd's revision", before)
	page.accessible("the dialog to go back")
	page.choose("dialog footer", "Show it")
	page.says("h1", "The registry as it was")
	ask[bool](page, `[...document.querySelectorAll(".past-notice a")].find((a) => a.textContent === "Back to now").click() ?? true`)
	page.until(`location.pathname === "/services"`)
	page.open("/timeline/at/" + time.Now().UTC().Format(time.RFC3339)) // by the time, what is now
	page.says(".past tbody", "mail")
}

func TestAMomentThatNobodyRemembersIsSaidToBeSo(t *testing.T) {
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	register(t, reg, "shop", rollcall.Instance{Addr: "10.0.0.1:80"})
	for n := range 5 {
		put(t, etcd.Client(t), fmt.Sprint("another/", n), "makes a revision")
	}
	got, err := etcd.Client(t).Get(within(t, seeing), "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := etcd.Client(t).Compact(within(t, seeing), got.Header.Revision); err != nil {
		t.Fatal(err)
	}
	page := browse(t, serveProcess(t, etcd).url())
	page.open("/timeline/at/2/shop")
	page.says(".failure", "That moment cannot be shown")
	page.says(".failure", "The past that etcd remembers begins at")
	page.until(`document.querySelector(".failure a")?.textContent === ` + quote(fmt.Sprint(got.Header.Revision)))
	page.accessible("a moment that is forgotten")
	page.click(".failure a")
	page.says(".past-notice", fmt.Sprint("revision ", got.Header.Revision))
	page.says(".past tbody", "10.0.0.1:80")
	page.open("/timeline/at/999999999")
	page.says(".failure", "That moment cannot be shown")
	page.open("/timeline/at/yesterday")
	page.says(".failure", "neither a revision of etcd nor a time")
	page.open("/timeline?service=" + "no%20such%20name!")
	page.says(".failure", "What happened cannot be shown")
}

func TestTheTimelineAndTheStatusCanBeUsedOnAPhoneInTheDark(t *testing.T) {
	etcd := etcdtest.Start(t)
	reg := open(t, etcd.Endpoint())
	for n := range 5 {
		register(t, reg, "a-service-with-a-rather-long-name", rollcall.Instance{ID: fmt.Sprintf("an-instance-with-a-rather-long-name-%d", n), Addr: "10.0.0.1:80", Zone: "europe-west1-b", Version: "v1.4.2-rc.1"})
	}
	steer(t, reg, "a-service-with-a-rather-long-name", "an-instance-with-a-rather-long-name-0", rollcall.Override{Drain: true, Reason: "a disk that is failing, and has been for a while", Author: "ada@example.com"})
	now, err := reg.Revision(within(t, seeing))
	if err != nil {
		t.Fatal(err)
	}
	page := browse(t, serveProcessWith(t, "--etcd", etcd.Endpoint(), "--canary", "1s").url(), chromedp.Flag("blink-settings", "preferredColorScheme=0"))
	page.do(chromedp.EmulateViewport(360, 740))
	for path, text := range map[string]string{
		"/timeline": "drained", fmt.Sprint("/timeline/at/", now): "a-service", fmt.Sprint("/timeline/at/", now, "/a-service-with-a-rather-long-name"): "ada@example.com",
		"/timeline/compare?from=2": "came", "/status": "examinations",
	} {
		page.open(path)
		page.says("main", text)
		page.accessible(path + " on a dark phone")
		if over := ask[int](page, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
			t.Errorf("%s: %d pixels are beyond the edge", path, over)
		}
	}
}
