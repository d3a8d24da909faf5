package metrics

import "github.com/prometheus/client_golang/prometheus"

// all are the metrics of a collector; docs/monitoring.md has the same list, and a test sees to that.
var all []*prometheus.Desc

func desc(name, help string, labels ...string) *prometheus.Desc {
	d := prometheus.NewDesc("rollcall_"+name, help, labels, nil)
	all = append(all, d)
	return d
}

var (
	registrations  = desc("registrations", "Registrations that live, by state: registered, or healing (not in etcd as far as is known, or unconfirmed for a TTL).", "state")
	registered     = desc("registered_total", "Registrations that etcd has confirmed.")
	replaced       = desc("registrations_replaced_total", "Registrations that ended because another one took their key.")
	healed         = desc("registrations_healed_total", "Times that a registration was put back, because its key was removed or overwritten, or its lease lost.")
	leasesLost     = desc("leases_lost_total", "Leases that etcd ended while they were needed, and that were granted anew.")
	leasesHeld     = desc("leases", "Leases held for registrations.")
	heartbeatAge   = desc("heartbeat_age_seconds", "Time since the last confirmed heartbeat, of the lease where it is longest ago.")
	heartbeatRatio = desc("heartbeat_age_ratio", "The same as a part of the lease's TTL, of the lease where that is largest; above 1 it may have expired.")
	unreachable    = desc("unreachable_seconds", "For how long etcd, or the server before it, has answered no heartbeat and no write; 0 while it answers or is not asked.")

	followed = desc("services", "Services that are followed.")
	revision = desc("revision", "The newest revision of etcd that any view is as of.")
	stale    = desc("stale_seconds", "Age of the stalest view: for how long what is known could not be confirmed; 0 while all views are current.")
	skipped  = desc("values_skipped_total", "Values in etcd that could not be read, each write counted once.")
	views    = desc("views_total", "Views of followed services, after the first of each.")
	updates  = desc("updates_total", "Changes of instances in those views, by kind: joined, changed, left (with a goodbye), expired (without), suspected (without, and doubted).", "kind")

	serviceInstances = desc("service_instances", "Instances of a service, whatever their state.", "service")
	serviceSuspects  = desc("service_suspects", "Instances of a service whose loss is doubted.", "service")
	serviceUnhealthy = desc("service_unhealthy", "Instances of a service whose check fails.", "service")
	serviceDraining  = desc("service_draining", "Instances of a service that are draining.", "service")
	serviceWatchers  = desc("service_watchers", "Watchers of a service in this process.", "service")
	serviceStale     = desc("service_stale_seconds", "Age of a service's view: for how long it could not be confirmed; 0 while it is current.", "service")
)
