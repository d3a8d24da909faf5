package integration

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// look is one of the pages, and what is there when it has been drawn.
type look struct{ name, path, selector, text string }

var looks = []look{
	{"services", "/", "tbody a", "shop"},
	{"service", "/services/shop", "tbody .lease", "s of 15s"},
	{"instance", "/services/shop/" + url.PathEscape("10.0.0.2:8080"), ".events", "disk is failing"},
	{"timeline", "/timeline", "main", "disk is failing"},
	{"then", "/timeline/at/24", ".past table", "helloworld.Greeter"},
	{"compare", "/timeline/compare?from=2", "main", "shop"},
	{"status", "/status", "section:has(#etcd) tbody td", "leader"},
}

// Everything can be used in the light, in the dark and on the smallest of phones. With `-artifacts -outputdir DIR` there is a picture of each
// page in DIR afterwards, for people to look at.
func TestEveryPageCanBeUsedInLightInDarkAndOnAPhone(t *testing.T) {
	etcd := etcdtest.Start(t)
	worldToLookAt(t, open(t, etcd.Endpoint()))
	server := serveProcessWith(t, "--etcd", etcd.Endpoint(), "--canary", "1s")
	for _, surroundings := range []struct {
		name          string
		scheme        string // as Blink numbers them
		width, height int64
	}{{"light", "1", 1280, 800}, {"dark", "0", 1280, 800}, {"phone", "1", 360, 740}} {
		page := browse(t, server.url(), chromedp.Flag("blink-settings", "preferredColorScheme="+surroundings.scheme))
		page.do(chromedp.EmulateViewport(surroundings.width, surroundings.height))
		for _, l := range looks {
			page.open(l.path)
			if l.name == "status" {
				page.measure()
			}
			page.says(l.selector, l.text)
			page.accessible(l.name + ", " + surroundings.name)
			if over := ask[int](page, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
				t.Errorf("%s, %s: %d pixels are beyond the edge", l.name, surroundings.name, over)
			}
			if dark := ask[bool](page, `matchMedia("(prefers-color-scheme: dark)").matches`); dark != (surroundings.name == "dark") {
				t.Errorf("%s: it is dark: %v", surroundings.name, dark)
			}
			shot, err := chromedp.Run(page.ctx, chromedp.CaptureScreenshot())
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(t.ArtifactDir(), l.name+"-"+surroundings.name+".png"), shot, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// measure fills the status page's plot, faster than in its own time. A picture has more of it.
func (p *tab) measure() {
	p.t.Helper()
	p.click(`nav a[href="/services"]`)
	ask[bool](p, `{ const plain = setTimeout; window.setTimeout = (f, ms) => plain(f, ms === 5_000 ? 100 : ms); true }`)
	p.click(`nav a[href="/status"]`)
	wanted := 1
	if flag.Lookup("test.artifacts").Value.String() == "true" {
		wanted = 10
	}
	p.until(fmt.Sprintf(`document.querySelectorAll(".plot .dots circle").length >= %d`, wanted))
}

// worldToLookAt registers what has something of everything.
func worldToLookAt(t *testing.T, reg *rollcall.Registry) {
	t.Helper()
	for _, service := range []string{"accounts", "billing", "helloworld.Greeter", "inventory", "mail", "orders", "search"} {
		for _, host := range []string{"10.0.1.1", "10.0.1.2", "10.0.1.3"} {
			register(t, reg, service, rollcall.Instance{Addr: host + ":8080", Zone: string("abc"[len(service)%3]), Version: "v1.4." + host[7:]})
		}
	}
	for n, addr := range []string{"10.0.0.1:8080", "10.0.0.2:8080", "10.0.0.3:8080", "10.0.0.4:8080", "10.0.0.5:8080"} {
		in := rollcall.Instance{Addr: addr, Zone: string("abc"[n%3]), Version: "v1.4.2", Metadata: map[string]string{"team": "checkout", "commit": "4f1c9aa"}}
		if n > 2 {
			in.Version, in.Weight = "v1.5.0-rc.1", 50
		}
		if n == 4 {
			in.State = rollcall.StateDraining
		}
		register(t, reg, "shop", in)
	}
	if _, err := reg.SetOverride(within(t, seeing), "shop", "10.0.0.2:8080", rollcall.Override{Drain: true, Reason: "disk is failing", Author: "ada@example.com"}); err != nil {
		t.Fatal(err)
	}
	if _, err := reg.SetPolicy(within(t, seeing), "shop", rollcall.Policy{Balancing: rollcall.Balancing{Split: map[string]float64{"v1.5.0-rc.1": 10}}, Reason: "its first calls", Author: "ada@example.com"}); err != nil {
		t.Fatal(err)
	}
}
