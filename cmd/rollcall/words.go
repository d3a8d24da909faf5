package main

import (
	"errors"
	"strings"

	"github.com/rollcall-io/rollcall"
)

// flagWords says how the command line calls what the library calls otherwise.
var flagWords = map[string]string{
	"service":                "SERVICE",
	"prefix":                 "--prefix",
	"TTL":                    "--ttl",
	"Instance":               "the instance",
	"Instance.Addr":          "ADDR",
	"Instance.ID":            "--id",
	"Instance.Weight":        "--weight",
	"Instance.Zone":          "--zone",
	"Instance.Version":       "--version",
	"Instance.Metadata":      "--meta",
	"Config.ClientURL":       "--client-url",
	"Config.History":         "--history",
	"Config.QuotaBytes":      "--quota",
	"Config.Prefix":          "--prefix",
	"name in Instance.Addrs": "the name in --addr",
}

// inFlagWords is the text of err, with the field of an [rollcall.InvalidError] named as the command line names it.
func inFlagWords(err error) string {
	text := err.Error()
	for _, bad := range invalidErrors(err) {
		word, known := flagWords[bad.Field]
		if name, found := strings.CutPrefix(bad.Field, "Instance.Addrs["); found {
			word, known = "--addr "+strings.TrimSuffix(name, "]"), true
		}
		if known {
			text = strings.Replace(text, bad.Error(), (&rollcall.InvalidError{Field: word, Value: bad.Value, Rule: bad.Rule}).Error(), 1)
		}
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
