// Calls of the API. An error of it is a google.rpc.Status; here it is a Failure, whose message is for people.
import { signal } from "@preact/signals";
import { to } from "./router.js";

const kept = "rollcall.token";

/** What the server is shown, where it asks who one is; "" for nothing. It is forgotten with the tab. */
export const token = signal(sessionStorage.getItem(kept) ?? "");

export function showToken(text) {
  if (text) sessionStorage.setItem(kept, text);
  else sessionStorage.removeItem(kept);
  token.value = text;
}

/** gRPC's codes, of which the page cares about some. */
export const code = { notFound: 5, denied: 7, aborted: 10, notHere: 12, unavailable: 14, unauthenticated: 16 };

export class Failure extends Error {
  /** @param {number} grpc the code; @param {string} message; @param {{reason?: string, fields?: {field: string, description: string}[]}} more */
  constructor(grpc, message, { reason = "", fields = [] } = {}) {
    super(message);
    this.code = grpc;
    this.reason = reason;
    this.fields = fields;
  }

  /** The caller may not have that, whatever there is, or this server has no such thing. */
  get refused() {
    return this.code === code.denied || this.code === code.unauthenticated || this.code === code.notHere;
  }
}

/** The Failure that a google.rpc.Status is. */
export function failureOf(status) {
  const details = status.details ?? [];
  const of = (type) => details.find((d) => d["@type"]?.endsWith("/google.rpc." + type));
  return new Failure(status.code, status.message || "the server does not say why", {
    reason: of("ErrorInfo")?.reason,
    fields: of("BadRequest")?.fieldViolations,
  });
}

/** The headers of every request. */
export const headers = () => (token.value ? { Authorization: "Bearer " + token.value } : {});

/** Fetches, and throws a Failure for whatever is not good. */
export async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", credentials: "same-origin", ...options, headers: { ...headers(), ...options.headers } });
  } catch (err) {
    if (options.signal?.aborted) throw err;
    throw new Failure(code.unavailable, "the server is out of reach");
  }
  if (response.ok) return response;
  throw failureOf(await response.json().catch(() => ({ code: response.status >= 500 ? code.unavailable : 2, message: `the server answers ${response.status}` })));
}

/** Makes a call, and returns its answer. Of the query, what is empty is left out. */
async function call(method, path, { query = {}, body, signal } = {}) {
  const set = new URLSearchParams(Object.entries(query).flatMap(([k, v]) => [v].flat().filter((x) => x !== "" && x !== undefined && x !== null).map((x) => [k, String(x)])));
  const response = await request(path + (set.size ? "?" + set : ""), {
    method,
    signal,
    ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }),
  });
  return response.json();
}

export const get = (path, query, signal) => call("GET", path, { query, signal });

const override = (service, id) => to("v1", "services", service, "overrides", id);
const policy = (service) => to("v1", "services", service, "policy");

export const caller = (service) => get("/v1/caller", { service });
export const events = (query) => get("/v1/history", query);
export const leases = (service, ids, signal) => get(to("v1", "services", service, "leases"), { ids }, signal);
export const watchers = (service, signal) => get("/v1/watchers", { service }, signal);
export const xdsClients = (service, signal) => get("/v1/xds/clients", { service }, signal);
export const getOverride = async (service, id) => (await get(override(service, id))).override;
export const setOverride = (service, id, decided) => call("PUT", override(service, id), { body: { override: decided } });
export const deleteOverride = (service, id, said) => call("DELETE", override(service, id), { query: said });
export const setPolicy = (service, document, revision) => call("PUT", policy(service), { body: { policy: { document, revision } } });
export const deletePolicy = (service, said) => call("DELETE", policy(service), { query: said });
export const accept = (service, said) => call("POST", to("v1", "services", service, "accept"), { body: said });
