package integration

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// seeing is how long a page may take to show something, on a machine that runs much else.
const seeing = 20 * time.Second

// tab is a page in a real browser of its own.
type tab struct {
	t   *testing.T
	ctx context.Context
	at  string // the server's URL
}

// browse starts a browser that looks at a server. Its tests run one by one: a browser takes a machine for itself. What its console complains of
// fails the test, but for what lies in the network: a refusal, or a server that is away, is for the page to tell.
func browse(t *testing.T, server string, flags ...chromedp.ExecAllocatorOption) *tab {
	t.Helper()
	if testing.Short() {
		t.Skip("a browser")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(chromium(t)), chromedp.NoSandbox,
		chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true), chromedp.Flag("lang", "en-US"))
	alone, end := chromedp.NewExecAllocator(within(t, 2*time.Minute), append(options, flags...)...)
	ctx, leave := chromedp.NewContext(alone)
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1280, 800)); err != nil {
		t.Fatalf("start a browser: %v", err)
	}
	var complaining sync.WaitGroup
	console := chromedp.Console(ctx)
	complaining.Go(func() {
		for m, err := range console {
			if err != nil {
				return
			}
			if (m.Type == chromedp.ConsoleError || m.Type == chromedp.ConsoleException) && m.Source != "network" {
				t.Errorf("the page's console: %s: %s (%s:%d)", m.Type, m.Text, m.URL, m.Line)
			}
		}
	})
	t.Cleanup(func() {
		if t.Failed() {
			if shot, err := chromedp.Run(ctx, chromedp.CaptureScreenshot()); err == nil {
				name := filepath.Join(t.ArtifactDir(), "page.png")
				t.Logf("the page as it was at last, kept with -artifacts: %s (%v)", name, os.WriteFile(name, shot, 0o600))
			}
		}
		_ = chromedp.Cancel(ctx)
		leave()
		end()
		complaining.Wait()
	})
	return &tab{t, ctx, server}
}

func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	lacking(t, errors.New("no Chromium is here, make deps installs it"))
	return ""
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, seeing)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

// open loads the page at an address anew.
func (p *tab) open(path string) {
	p.t.Helper()
	p.do(chromedp.Navigate(p.at + path))
}

// ask evaluates an expression in the page.
func ask[T any](p *tab, expression string) T {
	p.t.Helper()
	got, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return got
}

// until waits for an expression to be true in the page.
func (p *tab) until(expression string) {
	p.t.Helper()
	eventually(p.t, seeing, "in the page, "+expression, func() bool { return ask[bool](p, "Boolean("+expression+")") })
}

// says waits for something that a selector finds to have a text in it.
func (p *tab) says(selector, text string) {
	p.t.Helper()
	p.until(`[...document.querySelectorAll(` + quote(selector) + `)].some((e) => e.textContent.includes(` + quote(text) + `))`)
}

// lacks waits for a selector to find nothing.
func (p *tab) lacks(selector string) {
	p.t.Helper()
	p.until(`document.querySelector(` + quote(selector) + `) === null`)
}

// click clicks as a hand does, on what is there and can be clicked.
func (p *tab) click(selector string) {
	p.t.Helper()
	p.do(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// choose clicks the button of that name, below a selector.
func (p *tab) choose(below, name string) {
	p.t.Helper()
	button := `[...document.querySelectorAll(` + quote(below+" button") + `)].find((b) => b.textContent.trim() === ` + quote(name) + `)`
	p.until(button + `?.disabled === false`)
	ask[bool](p, button+`.click() ?? true`)
}

// fill writes into a field that has a label, in the open dialog.
func (p *tab) fill(label, text string) {
	p.t.Helper()
	field := `[...document.querySelectorAll("dialog .field")].find((f) => f.textContent.startsWith(` + quote(label) + `)).querySelector("input, textarea, select")`
	p.until(field)
	ask[bool](p, `{ const f = `+field+`; f.focus(); f.select?.(); true }`)
	p.do(chromedp.KeyEvent(text))
}

// accessible fails the test for whatever axe finds that somebody could not use.
func (p *tab) accessible(what string) {
	p.t.Helper()
	path, err := filepath.Abs("../../tools/node_modules/axe-core/axe.min.js")
	if err != nil {
		p.t.Fatal(err)
	}
	axe, err := os.ReadFile(path)
	if err != nil {
		lacking(p.t, errors.New("axe is not here, make deps installs it"))
	}
	ask[bool](p, string(axe)+"\n; true")
	if found := ask[[]string](p, `axe.run().then((r) => r.violations.map((v) => v.id + ": " + v.help + ": " + v.nodes.map((n) => n.html).join(" ")))`); len(found) > 0 {
		p.t.Errorf("axe finds on %s:\n%s", what, strings.Join(found, "\n"))
	}
}

// quote writes a text as JavaScript has it.
func quote(text string) string {
	quoted, _ := json.Marshal(text)
	return string(quoted)
}
