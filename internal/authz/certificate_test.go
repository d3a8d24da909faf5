package authz

import (
	"strings"
	"testing"
)

// The rule that the SPIFFE ids below meet: a service's own instances register it, and nothing else.
const ownService = `
trustDomain: td
rules:
- identities: ["spiffe://td/ns/{ns}/svc/{service}"]
  verbs: [register]
  services: ["{service}"]
- identities: ["dns:shop.example"]
  verbs: [register]
  services: [shop]
`

// Who shows which certificate may register which service: security.md's S1.
func TestOnlyTheExactIdentityOfAServiceMayRegisterIt(t *testing.T) {
	t.Parallel()
	r := mustParse(t, ownService)
	const shop = "spiffe://td/ns/prod/svc/shop"
	for what, c := range map[string]struct {
		names   []alternative
		common  string
		service string
		want    bool
	}{
		"its own":                                {[]alternative{uri(shop)}, "", "shop", true},
		"its own, beside a DNS name":             {[]alternative{uri(shop), dns("other.example")}, "", "shop", true},
		"its own, beside two DNS names":          {[]alternative{dns("a"), uri(shop), dns("b")}, "", "shop", true},
		"its own of another namespace":           {[]alternative{uri("spiffe://td/ns/test/svc/shop")}, "", "shop", true},
		"its own DNS name":                       {[]alternative{dns("shop.example")}, "", "shop", true},
		"its own DNS name, beside an e-mail's":   {[]alternative{dns("shop.example"), {1, "a@b.example"}}, "", "shop", true},
		"another service":                        {[]alternative{uri(shop)}, "", "cart", false},
		"a longer name":                          {[]alternative{uri(shop)}, "", "shop2", false},
		"a shorter name":                         {[]alternative{uri("spiffe://td/ns/prod/svc/shop2")}, "", "shop", false},
		"the beginning of a name":                {[]alternative{uri(shop)}, "", "sho", false},
		"a name in capitals":                     {[]alternative{uri(shop)}, "", "SHOP", false},
		"an identity in capitals":                {[]alternative{uri("spiffe://td/ns/prod/svc/SHOP")}, "", "shop", false},
		"no service":                             {[]alternative{uri(shop)}, "", "", false},
		"a pattern as a service":                 {[]alternative{uri(shop)}, "", "*", false},
		"the place as a service":                 {[]alternative{uri("spiffe://td/ns/prod/svc/{service}")}, "", "{service}", false},
		"CVE-2022-40716: two URIs":               {[]alternative{uri(shop), uri("spiffe://td/ns/prod/svc/cart")}, "", "shop", false},
		"CVE-2022-40716: the same twice":         {[]alternative{uri(shop), uri(shop)}, "", "shop", false},
		"CVE-2022-40716: two URIs and a name":    {[]alternative{uri(shop), uri(shop), dns("shop.example")}, "", "shop", false},
		"a SPIFFE id and another URI":            {[]alternative{uri(shop), uri("https://td/")}, "", "shop", false},
		"a URI that is none, and a DNS name":     {[]alternative{uri("https://td/"), dns("shop.example")}, "", "shop", false},
		"no names at all":                        {nil, "", "shop", false},
		"a common name only":                     {nil, "shop.example", "shop", false},
		"a SPIFFE id as common name":             {nil, shop, "shop", false},
		"an e-mail's only":                       {[]alternative{{1, "shop.example"}}, "shop.example", "shop", false},
		"an address only":                        {[]alternative{{7, "\x7f\x00\x00\x01"}}, "shop.example", "shop", false},
		"two DNS names":                          {[]alternative{dns("shop.example"), dns("cart.example")}, "", "shop", false},
		"the same DNS name twice":                {[]alternative{dns("shop.example"), dns("shop.example")}, "", "shop", false},
		"another DNS name":                       {[]alternative{dns("shop.example.evil")}, "", "shop", false},
		"a DNS name in capitals":                 {[]alternative{dns("SHOP.example")}, "", "shop", false},
		"a DNS name with a dot behind":           {[]alternative{dns("shop.example.")}, "", "shop", false},
		"a DNS name that is a pattern":           {[]alternative{dns("*.example")}, "", "shop", false},
		"a DNS name that looks like an identity": {[]alternative{dns("dns:shop.example")}, "", "shop", false},
		"a DNS name that looks like a token":     {[]alternative{dns("token:admin")}, "", "shop", false},
		"a DNS name with NUL":                    {[]alternative{dns("shop.example\x00.evil")}, "", "shop", false},
		"another trust domain":                   {[]alternative{uri("spiffe://evil/ns/prod/svc/shop")}, "", "shop", false},
		"a trust domain that begins so":          {[]alternative{uri("spiffe://td.evil/ns/prod/svc/shop")}, "", "shop", false},
		"a trust domain in capitals":             {[]alternative{uri("spiffe://TD/ns/prod/svc/shop")}, "", "shop", false},
		"a trust domain with a port":             {[]alternative{uri("spiffe://td:443/ns/prod/svc/shop")}, "", "shop", false},
		"a trust domain with a user":             {[]alternative{uri("spiffe://td@evil/ns/prod/svc/shop")}, "", "shop", false},
		"a scheme in capitals":                   {[]alternative{uri("SPIFFE://td/ns/prod/svc/shop")}, "", "shop", false},
		"another scheme":                         {[]alternative{uri("https://td/ns/prod/svc/shop")}, "", "shop", false},
		"a slash behind":                         {[]alternative{uri(shop + "/")}, "", "shop", false},
		"a segment behind":                       {[]alternative{uri(shop + "/x")}, "", "shop", false},
		"a query":                                {[]alternative{uri(shop + "?x")}, "", "shop", false},
		"a fragment":                             {[]alternative{uri(shop + "#x")}, "", "shop", false},
		"a double slash":                         {[]alternative{uri("spiffe://td/ns//prod/svc/shop")}, "", "shop", false},
		"an empty namespace":                     {[]alternative{uri("spiffe://td/ns//svc/shop")}, "", "shop", false},
		"an empty service":                       {[]alternative{uri("spiffe://td/ns/prod/svc/")}, "", "", false},
		"dots":                                   {[]alternative{uri("spiffe://td/ns/prod/svc/cart/../shop")}, "", "shop", false},
		"dots as a service":                      {[]alternative{uri("spiffe://td/ns/prod/svc/..")}, "", "..", false},
		"an encoded slash":                       {[]alternative{uri("spiffe://td/ns/prod/svc%2fshop")}, "", "shop", false},
		"an encoded letter":                      {[]alternative{uri("spiffe://td/ns/prod/svc/%73hop")}, "", "shop", false},
		"CVE-2021-41803: a slash in the service": {[]alternative{uri(shop)}, "", "shop/../shop", false},
		"NUL behind":                             {[]alternative{uri(shop + "\x00")}, "", "shop", false},
		"NUL and more behind":                    {[]alternative{uri(shop + "\x00evil")}, "", "shop", false},
		"NUL in the service":                     {[]alternative{uri(shop)}, "", "shop\x00", false},
		"a letter that looks the same":           {[]alternative{uri("spiffe://td/ns/prod/svc/sh\u043ep")}, "", "shop", false},
		"a service that looks the same":          {[]alternative{uri(shop)}, "", "sh\u043ep", false},
		"a space":                                {[]alternative{uri(" " + shop)}, "", "shop", false},
		"no path":                                {[]alternative{uri("spiffe://td")}, "", "shop", false},
		"an empty URI":                           {[]alternative{uri("")}, "", "shop", false},
		"a URI without end":                      {[]alternative{uri("spiffe://td/ns/" + strings.Repeat("a", 3000) + "/svc/shop")}, "", "shop", false},
	} {
		name, err := certificateName(rawCertificate(t, c.common, c.names...), r.TrustDomain)
		got := err == nil && r.decide(named(name, "10.0.0.1:1"), ask{verb: register, service: c.service}).allowed
		if got != c.want {
			t.Errorf("%s: allowed is %v, want %v: he is %q, %v", what, got, c.want, name, err)
		}
	}
}

func TestWithoutATrustDomainNoURIIsAnybody(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"spiffe://td/ns/a/svc/b", "spiffe:///ns/a", "spiffe://"} {
		if name, err := certificateName(rawCertificate(t, "", uri(text)), ""); err == nil {
			t.Errorf("%s is %s", text, name)
		}
	}
}

// Only the exact id passes, whatever else a certificate says.
func FuzzTheHolderOfACertificate(f *testing.F) {
	for _, seed := range []string{"spiffe://td/ns/prod/svc/shop", "spiffe://td/", "spiffe://td//", "SPIFFE://td/a", "spiffe://td/..", "spiffe://td/%2f", "spiffe://td/a\x00", "https://td/a"} {
		f.Add(seed, "shop.example")
	}
	r := mustParse(f, ownService)
	f.Fuzz(func(t *testing.T, id, host string) {
		name, err := spiffeName(id, "td")
		if err == nil {
			path := strings.TrimPrefix(id, "spiffe://td/")
			if name != id || path == id || strings.ContainsAny(path, "%?#@:\\\x00 ") || strings.Contains("/"+path+"/", "//") || strings.Contains("/"+path+"/", "/../") || strings.Contains("/"+path+"/", "/./") {
				t.Errorf("%q is %q", id, name)
			}
		}
		if name, err := dnsName(host); err == nil && (name != "dns:"+host || strings.ToLower(host) != host || strings.ContainsAny(host, "*:/ \x00_") || strings.HasSuffix(host, ".")) {
			t.Errorf("%q is %q", host, name)
		}
		for _, service := range []string{"shop", "cart", "shop2"} {
			allowed := r.decide(named(id, ""), ask{verb: register, service: service}).allowed
			parts := strings.Split(id, "/")
			if want := id == "dns:shop.example" && service == "shop" || len(parts) == 7 && strings.HasPrefix(id, "spiffe://td/ns/") && parts[4] != "" && parts[5] == "svc" && parts[6] == service; allowed != want {
				t.Errorf("%q may register %s: %v", id, service, allowed)
			}
		}
	})
}
