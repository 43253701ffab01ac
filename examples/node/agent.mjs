// An agent container without the Python SDK: Node >= 24, no packages. It keeps the whole run contract
// (docs/reference/run-contract.md); `pinfleet-agent conform` says so.
//
// The agent: `steps` numbers are added up, one recorded step each; with `forever` it then waits until it is ended.
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as sleep } from "node:timers/promises";

const env = process.env;
const me = { protocol: 1, version: env.PINFLEET_VERSION, podUID: env.PINFLEET_POD_UID, boot: randomBytes(8).toString("hex") };
const capacity = Number(env.PINFLEET_RUNS_PER_POD ?? 1);

// ---- the journal: a claim and a commit are one atomic write each -------------------------------------------------

const db = new DatabaseSync((env.PINFLEET_STATE_URL ?? ":memory:").replace(/^sqlite:\/\//, ""));
db.exec(`PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000;
  CREATE TABLE IF NOT EXISTS node_run (uid TEXT PRIMARY KEY, epoch INTEGER, boot TEXT, steps INTEGER DEFAULT 0, end TEXT);
  CREATE TABLE IF NOT EXISTS node_step (uid TEXT, n INTEGER, result TEXT, PRIMARY KEY (uid, n))`);
const sql = {
  row: db.prepare("SELECT epoch, boot, steps, end FROM node_run WHERE uid = ?"),
  claim: db.prepare(`INSERT INTO node_run (uid, epoch, boot) VALUES (?, ?, ?)
    ON CONFLICT (uid) DO UPDATE SET epoch = excluded.epoch, boot = excluded.boot WHERE epoch < excluded.epoch AND end IS NULL`),
  fence: db.prepare("UPDATE node_run SET steps = steps + 1 WHERE uid = ? AND epoch = ? AND boot = ? AND end IS NULL AND steps < ?"),
  step: db.prepare("INSERT INTO node_step (uid, n, result) VALUES (?, ?, ?)"),
  recorded: db.prepare("SELECT n, result FROM node_step WHERE uid = ?"),
  end: db.prepare("UPDATE node_run SET end = ? WHERE uid = ? AND epoch = ? AND boot = ? AND end IS NULL"),
};

class Fenced extends Error {}
class Stopped extends Error {}

function commitStep(run, n, result) {
  db.exec("BEGIN IMMEDIATE");
  try {
    if (sql.fence.run(run.uid, run.epoch, me.boot, run.maxSteps).changes === 0) {
      const row = sql.row.get(run.uid);
      if (row.epoch === run.epoch && !row.end && row.steps >= run.maxSteps) return finish(run, "limit", { limit: "steps" });
      throw new Fenced();
    }
    sql.step.run(run.uid, n, JSON.stringify(result));
    db.exec("COMMIT");
    run.steps += 1;
  } finally {
    if (db.isTransaction) db.exec("ROLLBACK");
  }
}

// ---- runs: listed from the answer to their offer until they are acked --------------------------------------------

const runs = new Map(); // uid -> run
const pollers = new Set();
let changes = 0;
let forgotten = 0; // number of the last change that took a run off the list
let highestLeader = 0;
let isDraining = false;

function changed(run) {
  run.n = ++changes;
  for (const wake of pollers) wake();
}

function list(run, state, outcome) {
  run.state = state;
  run.outcome = outcome;
  changed(run);
}

function finish(run, state, outcome) { // the end is recorded before it is listed
  if (db.isTransaction) db.exec("ROLLBACK");
  if (sql.end.run(JSON.stringify({ state, outcome }), run.uid, run.epoch, me.boot).changes === 0) throw new Fenced();
  list(run, state, outcome);
  throw new Stopped();
}

function boundary(run) { // between two steps: a drain or an end stops here
  if (run.state !== "running") throw new Stopped();
  if (run.superseded || (isDraining && !run.end)) { list(run, "drained"); throw new Stopped(); }
  if (run.end) finish(run, ...endOf(run.end));
}

function endOf(reason) {
  if (reason === "deadline" || reason === "active") return ["limit", { limit: reason }];
  if (reason === "attempts") return ["failed", { error: { type: "AttemptsExhausted", message: "its executions kept dying" } }];
  return ["cancelled"];
}

async function execute(run) {
  try {
    const recorded = new Map(sql.recorded.all(run.uid).map((row) => [row.n, JSON.parse(row.result)]));
    const ask = run.input ?? {};
    let sum = 0;
    for (let n = 1; n <= (ask.steps ?? 0); n++) {
      boundary(run);
      if (!recorded.has(n)) {
        if (ask.seconds) await sleep(ask.seconds * 1000, undefined, { signal: run.stop.signal }).catch(() => {});
        boundary(run);
        commitStep(run, n, n);
      }
      sum += recorded.get(n) ?? n;
    }
    while (ask.forever) {
      boundary(run);
      await sleep(60_000, undefined, { signal: run.stop.signal }).catch(() => {});
    }
    boundary(run);
    finish(run, "succeeded", { result: { sum } });
  } catch (error) {
    if (error instanceof Stopped) return;
    if (error instanceof Fenced) return list(run, "fenced", undefined);
    try { finish(run, "failed", { error: { type: error.name, message: error.message } }); } catch { /* said above */ }
  } finally {
    run.isIdle = true;
  }
}

// ---- the calls ---------------------------------------------------------------------------------------------------

const refuse = (status, code, message, value) => ({ status, body: { code, message, value } });
const wrongShape = (why) => refuse(400, "bad_request", why);
const isCount = (x) => Number.isInteger(x) && x >= 0 && x <= 2 ** 31 - 2;

function offer(uid, body) {
  if (!body || !isCount(body.epoch) || !isCount(body.attempt) || !isCount(body.limits?.maxSteps)
      || typeof body.name !== "string" || typeof body.version !== "string")
    return wrongShape("an offer has name, version, epoch, attempt and limits");
  if (body.version !== me.version) return refuse(421, "wrong_version", "this pod serves another version", me.version);
  const held = runs.get(uid);
  if (held && body.epoch < held.epoch) return refuse(409, "stale_epoch", "a higher epoch is held here", held.epoch);
  if (held && body.epoch === held.epoch) return { status: 202, body: { n: held.n } };
  if (isDraining) return refuse(503, "draining", "this pod takes no new runs");
  if (!held && runs.size >= capacity) return refuse(429, "full", "every slot is taken", capacity);
  const known = sql.row.get(uid);
  if ((known?.steps ?? 0) < (body.steps ?? 0)) {
    const error = { type: "JournalLost", message: `the journal holds ${known?.steps ?? 0} of ${body.steps} steps` };
    return take(uid, body, { state: "incompatible", outcome: { error }, isIdle: true });
  }
  if (known?.end) return take(uid, body, { ...JSON.parse(known.end), steps: known.steps, isIdle: true });
  const claimed = sql.claim.run(uid, body.epoch, me.boot).changes === 1;
  const row = sql.row.get(uid);
  if (!claimed && !(row.epoch === body.epoch && row.boot === me.boot))
    return refuse(409, "stale_epoch", "the journal knows another owner", row.epoch);
  if (held && !held.isIdle) { // its code goes on under the new epoch: no step can lie between
    held.epoch = body.epoch;
    changed(held);
    return { status: 202, body: { n: held.n } };
  }
  const answer = take(uid, body, { state: "running", steps: row.steps, end: body.end });
  execute(runs.get(uid));
  return answer;
}

function take(uid, body, more) {
  const run = { uid, name: body.name, epoch: body.epoch, input: body.input, maxSteps: body.limits.maxSteps, steps: 0,
    stop: new AbortController(), ...more };
  runs.set(uid, run);
  changed(run);
  return { status: 202, body: { n: run.n } };
}

function ack(uid, epoch) {
  const run = runs.get(uid);
  if (!run) return { status: 204 };
  if (run.epoch > epoch) return refuse(409, "stale_epoch", "held at a higher epoch", run.epoch);
  if (run.state === "running" || !run.isIdle) return refuse(409, "still_running", "it has not ended here");
  runs.delete(uid);
  forgotten = ++changes;
  return { status: 200, body: { n: changes } };
}

function end(uid, epoch, reason) {
  const run = runs.get(uid);
  if (run && run.epoch > epoch) return refuse(409, "stale_epoch", "held at a higher epoch", run.epoch);
  if (!run || run.epoch !== epoch) return refuse(404, "unknown_run", "not held at this epoch");
  if (reason === "superseded") run.superseded = true;
  else run.end ??= reason;
  run.stop.abort();
  return { status: 202, body: { n: changes } };
}

async function state(query) {
  const asked = Number(query.get("after") ?? 0);
  const isKnown = query.get("boot") === me.boot && asked >= forgotten && asked <= changes && asked > 0;
  if (isKnown && asked === changes) {
    await new Promise((resolve) => {
      const wake = () => { clearTimeout(timer); pollers.delete(wake); resolve(); };
      const timer = setTimeout(wake, Math.min(Number(query.get("wait") ?? 0), 60) * 1000);
      pollers.add(wake);
    });
  }
  const full = !isKnown || asked < forgotten;
  const listed = [...runs.values()].filter((run) => full || run.n > asked)
    .map(({ uid, name, epoch, state: said, steps, outcome }) => ({ uid, name, epoch, state: said, steps, outcome }));
  return { status: 200, body: { n: changes, capacity, draining: isDraining, full, runs: listed } };
}

function drain() {
  isDraining = true;
  for (const run of runs.values()) { run.stop.abort(); changed(run); }
  return { status: 202, body: { n: changes } };
}

async function answer(request) {
  const url = new URL(request.url, "http://pod");
  const call = `${request.method} ${url.pathname.replace(/^\/runs\/[^/]+/, "/runs/UID")}`;
  if (call === "GET /ping") return { status: 200, body: {} };
  if (call === "GET /ready") return { status: isDraining ? 503 : 200, body: {} };
  const tokens = readFileSync(env.PINFLEET_TOKEN_FILE, "utf8").split(/\s+/).filter(Boolean);
  if (!tokens.some((token) => request.headers.authorization === `Bearer ${token}`))
    return refuse(401, "unauthorized", "no bearer token that this pod knows");
  if (request.headers["pinfleet-pod"] !== me.podUID) return refuse(421, "wrong_pod", "this is another pod", me.podUID);
  if (call === "GET /state") return state(url.searchParams);
  const leader = Number(request.headers["pinfleet-leader"]);
  if (!isCount(leader)) return wrongShape("Pinfleet-Leader is missing");
  if (leader < highestLeader) return refuse(409, "stale_leader", "a newer leader has called", highestLeader);
  highestLeader = leader;
  const uid = decodeURIComponent(url.pathname.split("/")[2] ?? "");
  const epoch = Number(url.searchParams.get("epoch"));
  if (call === "POST /runs/UID/ack") return ack(uid, epoch);
  if (call === "DELETE /runs/UID") return end(uid, epoch, url.searchParams.get("reason"));
  if (call === "POST /drain") return drain();
  if (call !== "PUT /runs/UID") return refuse(404, "bad_request", "no such call");
  const parts = [];
  for await (const part of request) parts.push(part);
  let body;
  try { body = JSON.parse(Buffer.concat(parts).toString()); } catch { return wrongShape("the body is no JSON"); }
  return offer(uid, body);
}

const server = createServer(async (request, response) => {
  const { status, body } = await answer(request).catch((error) => {
    console.error(error);
    return refuse(503, "journal_unavailable", error.message);
  });
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(body === undefined ? undefined : JSON.stringify({ ...me, ...body }));
});
server.listen(Number(env.PINFLEET_PORT ?? 8080), env.PINFLEET_POD_IP, () => console.error(JSON.stringify(
  { event: "serving", address: [server.address().address, server.address().port] })));
process.on("SIGTERM", () => {
  drain();
  setInterval(() => { if (runs.size === 0) process.exit(0); }, 100);
  setTimeout(() => process.exit(0), 25_000).unref();
});
