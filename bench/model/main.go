// Command model prints what a registry of a certain size needs: what one machine was measured to do, multiplied. docs/performance.md has its
// output, and what it leaves out.
package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
)

func main() { write(os.Stdout, measured) }

var sizes = []float64{1_000, 10_000, 100_000, 1_000_000}

// row is one line of the table.
type row struct {
	what  string
	of    func(f fleet, c constants) float64
	write func(float64) string
}

// direct is when every process goes to etcd itself.
var direct = []row{
	{"heartbeats at etcd", func(f fleet, _ constants) float64 { return f.heartbeats() }, rate},
	{"CPU of its leader for them", func(f fleet, c constants) float64 { return f.heartbeats() * c.heartbeatAtEtcd }, cores},
	{"watches at etcd", func(f fleet, _ constants) float64 { return f.instances * f.calls }, number},
	{"their memory, in all members", func(f fleet, c constants) float64 { return f.instances * f.calls * c.watchAtEtcd }, size},
	{"changes in a deploy", func(f fleet, _ constants) float64 { return f.changes() }, rate},
	{"CPU of etcd to write them", func(f fleet, c constants) float64 { return f.changes() * c.writeAtEtcd }, cores},
	{"CPU of etcd to tell them, in all members", func(f fleet, c constants) float64 { return f.changes() * f.told() * c.eventAtEtcd }, cores},
	{"etcd's store, an hour of past included", func(f fleet, c constants) float64 { return f.stored(c) }, size},
	{"until the last is gone, if a tenth dies at once", func(f fleet, c constants) float64 { return f.ttl + f.instances/10/c.expiries }, seconds},
	{"etcds (cells) that share this", func(f fleet, _ constants) float64 { return ceil(f.instances / f.cellsAtMost) }, number},
}

// behind is when processes register and watch through servers.
var behind = []row{
	{"servers, 10,000 processes each", func(f fleet, _ constants) float64 { return f.servers() }, number},
	{"streams of each", func(f fleet, _ constants) float64 { return f.instances * f.calls / f.servers() }, number},
	{"heartbeats at each", func(f fleet, _ constants) float64 { return f.heartbeats() / f.servers() }, rate},
	{"CPU of each for heartbeats", func(f fleet, c constants) float64 { return f.heartbeats() / f.servers() * c.heartbeatAtServer }, cores},
	{"CPU of each to tell a deploy", func(f fleet, c constants) float64 { return f.changes() * f.told() / f.servers() * c.streamAtServer }, cores},
	{"memory of each", func(f fleet, c constants) float64 {
		return f.instances*c.instanceInView + f.instances*f.calls/f.servers()*c.streamMemory + f.instances/f.servers()*c.heldMemory
	}, size},
	{"CPU of each to begin", func(f fleet, c constants) float64 { return f.instances * c.instanceToLearn }, seconds},
	{"watches at etcd", func(f fleet, _ constants) float64 { return 2 * f.servers() }, number},
	{"heartbeats at etcd", func(f fleet, _ constants) float64 { return f.leases() / (f.ttl / 3) }, rate},
	{"CPU of etcd to write a deploy", func(f fleet, c constants) float64 { return f.changes() * c.writeAtEtcd }, cores},
	{"CPU of etcd to tell a deploy", func(f fleet, c constants) float64 { return f.changes() * f.servers() * c.eventAtEtcd }, cores},
}

// client is what a process pays, however it is told.
var client = []row{
	{"memory for what it watches", func(f fleet, c constants) float64 { return f.calls * f.perService * c.instanceInView }, size},
	{"changes it is told in a deploy", func(f fleet, _ constants) float64 { return f.changes() / (f.instances / f.perService) * f.calls }, rate},
	{"CPU for them", func(f fleet, c constants) float64 {
		return f.changes() / (f.instances / f.perService) * f.calls * c.changeInClient
	}, cores},
}

func write(w io.Writer, c constants) {
	head := []string{""}
	for _, n := range sizes {
		head = append(head, number(n)+" instances")
	}
	for _, part := range []struct {
		title string
		rows  []row
	}{{"every process at etcd itself", direct}, {"behind servers", behind}, {"each process, either way", client}} {
		head[0] = part.title
		fmt.Fprintf(w, "| %s |\n|---|%s\n", strings.Join(head, " | "), strings.Repeat("---:|", len(sizes)))
		for _, r := range part.rows {
			line := []string{r.what}
			for _, n := range sizes {
				line = append(line, r.write(r.of(of(n), c)))
			}
			fmt.Fprintf(w, "| %s |\n", strings.Join(line, " | "))
		}
		fmt.Fprintln(w)
	}
}

func ceil(f float64) float64 { return math.Ceil(f) }

// short writes a figure as precisely as a model deserves: with two digits.
func short(f float64) string {
	if f == 0 {
		return "0"
	}
	if f < 10 {
		return strconv.FormatFloat(f, 'f', max(0, 1-int(math.Floor(math.Log10(f)))), 64)
	}
	unit := math.Pow(10, math.Floor(math.Log10(f))-1)
	whole := strconv.FormatFloat(math.Round(f/unit)*unit, 'f', 0, 64)
	for at := len(whole) - 3; at > 0; at -= 3 {
		whole = whole[:at] + "," + whole[at:]
	}
	return whole
}

func number(f float64) string {
	if f < 10 && f == math.Trunc(f) {
		return strconv.Itoa(int(f))
	}
	return short(f)
}

func rate(f float64) string    { return short(f) + "/s" }
func seconds(f float64) string { return short(f) + " s" }

// cores writes a part of a processor.
func cores(f float64) string {
	switch {
	case f < 0.001:
		return "under 0.1 % of a core"
	case f < 0.995:
		return short(f*100) + " % of a core"
	}
	return short(f) + " cores"
}

func size(f float64) string {
	units := []string{"B", "KiB", "MiB", "GiB"}
	for f >= 1000 && len(units) > 1 {
		f, units = f/1024, units[1:]
	}
	return short(f) + " " + units[0]
}
