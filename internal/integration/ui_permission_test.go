package integration

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/rollcall-io/rollcall"
)

func TestWhoMayNotHasNoButtonAndWhoMaySignsAsHimself(t *testing.T) {
	guarded := serveGuarded(t, `
rules:
- identities: ["token:reader", "token:ops"]
  verbs: [read]
  services: ["*"]
- identities: ["token:ops"]
  verbs: [steer]
  services: ["shop"]
`, "reader", "ops")
	reg := open(t, guarded.etcd.Endpoint())
	for _, service := range []string{"shop", "mail"} {
		register(t, reg, service, rollcall.Instance{Addr: "10.0.0.1:80"})
	}
	page := browse(t, guarded.http, chromedp.Flag("ignore-certificate-errors", true))
	page.open("/services/shop")
	page.says(".banners", "The server does not know who you are")
	page.accessible("a page for nobody")
	page.present("reader", "Give a token")
	page.says("tbody th a", "10.0.0.1:80")
	page.says(".who", "token:reader")
	page.lacks(".acts button, .card .bar-of button, #watchers")

	page.present("ops", "You are token:reader")
	page.says(".acts button", "Drain")
	page.says("#policy + span", "Decide")
	page.click(`button[aria-label="Drain 10.0.0.1:80"]`)
	page.fill("Why", "disk is failing")
	page.until(`document.querySelectorAll("dialog .field").length === 2`) // nobody is asked for his name
	page.do(chromedp.KeyEvent(kb.Enter))
	page.says(".state", "draining")
	if got, err := reg.Override(within(t, seeing), "shop", "10.0.0.1:80"); err != nil || got.Author != "token:ops" {
		t.Errorf("the override is %+v, %v", got, err)
	}
	page.open("/services/mail")
	page.says("tbody th a", "10.0.0.1:80")
	page.says(".who", "token:ops")
	page.until(`performance.getEntriesByName(location.origin + "/v1/caller?service=mail").some((e) => e.responseStatus === 200)`)
	page.lacks(".acts button")
}

// present shows the server a token, by the dialog that a button opens.
func (p *tab) present(name, button string) {
	p.t.Helper()
	p.choose("#app", button)
	p.fill("Token", tokenOf(name))
	p.choose("dialog footer", "Use the token")
	p.lacks("dialog")
	p.says(".who", "token:"+name)
}
