package main

import (
	"cmp"
	"errors"
	"strings"
	"time"

	"github.com/rollcall-io/rollcall"
)

// flagWords says how the command line calls what the library calls otherwise.
var flagWords = map[string]string{
	"service":                 "SERVICE",
	"prefix":                  "--prefix",
	"TTL":                     "--ttl",
	"Instance":                "the instance",
	"Instance.Addr":           "ADDR",
	"Instance.ID":             "--id",
	"Instance.Weight":         "--weight",
	"Instance.Zone":           "--zone",
	"Instance.Version":        "--version",
	"Instance.Metadata":       "--meta",
	"Instance.Check.Type":     "--check",
	"Instance.Check.Addr":     "--check-addr",
	"Instance.Check.Service":  "--check-service",
	"Instance.Check.Path":     "--check-path",
	"Instance.Check.TLS":      "--check-tls",
	"Instance.Check.Interval": "--check-interval",
	"Instance.Check.Timeout":  "--check-timeout",
	"Instance.Check.Fall":     "--check-fall",
	"Instance.Check.Rise":     "--check-rise",
	"Override.Reason":         "--reason",
	"Override.Author":         "--as",
	"Override.Until":          "--for",
	"Override.Weight":         "N",
	"reason":                  "--reason",
	"author":                  "--as",
	"Config.ClientURL":        "--client-url",
	"Config.History":          "--history",
	"Config.QuotaBytes":       "--quota",
	"Config.Prefix":           "--prefix",
	"name in Instance.Addrs":  "the name in --addr",
}

// inFlagWords is the text of err, with the field of an [rollcall.InvalidError] named as the command line names it. Filled
// has the variable, by its flag, that a value is from.
func inFlagWords(err error, filled map[string]string) string {
	text := err.Error()
	for _, bad := range invalidErrors(err) {
		word, known := flagWords[bad.Field]
		if _, found := strings.CutPrefix(bad.Field, "Config.Etcd["); found {
			word, known = "--etcd", true
		}
		if name, found := strings.CutPrefix(bad.Field, "Instance.Addrs["); found {
			word, known = "--addr "+strings.TrimSuffix(name, "]"), true
		}
		word = cmp.Or(word, bad.Field)
		if variable, found := filled[word]; found {
			word, known = variable, true
		}
		if known {
			text = strings.Replace(text, bad.Error(), (&rollcall.InvalidError{Field: word, Value: bad.Value, Rule: bad.Rule}).Error(), 1)
		}
	}
	if e, ok := errors.AsType[*rollcall.UnreachableError](err); ok {
		text = strings.Replace(text, e.Error(), unreachable(e, time.Now()), 1)
	}
	return text
}

// invalidErrors finds all of them in err, also in one that joins several.
func invalidErrors(err error) []*rollcall.InvalidError {
	switch e := err.(type) {
	case nil:
		return nil
	case *rollcall.InvalidError:
		return []*rollcall.InvalidError{e}
	case interface{ Unwrap() []error }:
		var all []*rollcall.InvalidError
		for _, inner := range e.Unwrap() {
			all = append(all, invalidErrors(inner)...)
		}
		return all
	}
	return invalidErrors(errors.Unwrap(err))
}
