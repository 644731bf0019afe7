import { describe, expect, it } from 'vitest';
import { judgeOnce, noteOnce, type OnceEnd, type OnceProgress } from './decide-once.js';
import { nextOnce, type OnceEvent, type OnceRecord, type OnceReply, type OnceTimes } from './next-once.js';
import type { OnceMark } from './once-fields.js';

const LEASE = 2;
const TTL = 8;
/** The key is made at 0, so that no attempt begins after 4. */
const BEFORE = TTL / 2;
/** The begin, the end of a lease, the last begin, after it, and the end of a record that has not changed since 0. */
const INSTANTS = [0, LEASE, BEFORE, BEFORE + 1, TTL];
const NEVER = 99;
const END = Uint8Array.of(1);

/** What can happen besides requests and answers that are late or lost, and handlers that end or do nothing. */
interface World {
  /** Each server has its own store, which ends with its process. Otherwise, both share one. */
  readonly ownStores?: boolean;
  /** A third server is without the feature. */
  readonly oldServer?: boolean;
  /** The proxy may deliver a request twice. */
  readonly twice?: boolean;
  /** The store may lose its newest change, or all, and then changes its scope. */
  readonly loses?: boolean;
  /** The store may fail when an attempt wants to begin, with or without having recorded that. */
  readonly fails?: boolean;
  /** The store may get a release again, later. */
  readonly repeats?: boolean;
  readonly commits?: boolean;
  /** No process dies, or is frozen beyond its lease. */
  readonly calm?: boolean;
  /** Two attempts may be in flight. */
  readonly hedges?: boolean;
  /** The client is of another kind: it names no store and no time, and repeats everything by itself. The second request differs. */
  readonly foreign?: 'repeats' | 'differs';
  /** Somebody asks once what became of the key, and closes it. */
  readonly closes?: boolean;
  /** Number of attempts. @defaultValue 3 */
  readonly attempts?: number;
}

/** The code under test, or a broken variant of it. */
interface Rules {
  readonly next: typeof nextOnce;
  readonly judge: typeof judgeOnce;
  readonly note: typeof noteOnce;
  /** True if the client minds the attempts in flight beside one that has ended, as `CallRunner` does. */
  readonly minds: boolean;
  /** True if each run of a server owns the key by itself, as those of `OnceServer` do. */
  readonly ownsByRun: boolean;
}
const REAL: Rules = { next: nextOnce, judge: judgeOnce, note: noteOnce, minds: true, ownsByRun: true };

interface Attempt {
  readonly path: 'once' | 'plain';
  /** '?' asks; absent for a client of another kind. */
  readonly scope?: string;
  readonly hash: string;
  /** Deliveries that the proxy has left. */
  left: number;
  /** True until the client knows an end. */
  isOpen: boolean;
  /** Answers on their way. */
  answers: Answer[];
  /** The server whose handler it waits for, and whether it has started that handler. */
  at?: number;
  leads?: boolean;
}
interface Answer {
  readonly mark?: OnceMark;
  readonly isPathRefused?: boolean;
  /** True for a success. */
  readonly ok?: boolean;
  /** The scope that a refusal names. */
  readonly scope?: string;
}
/** A handler that runs. */
interface Run {
  readonly hash: string;
  readonly owner: string;
  hasEffect: boolean;
  hasFailed: boolean;
}
interface State {
  now: number;
  stores: { scope: string; record?: OnceRecord; past?: OnceRecord }[];
  /** `knows` is the scope that the server read last, `unlearnt` the owner of an attempt whose recording has failed. */
  servers: { name: string; knows: string; run?: Run; unlearnt?: string }[];
  /** Owner whose release comes again. */
  released?: string;
  /** Number of attempts that the client has sent. */
  sent: number;
  /** Those that the client waits for, or the proxy has not delivered. */
  attempts: Attempt[];
  progress: OnceProgress;
  /** What the client does next: sends an attempt, or one if its policy allows it. */
  next?: 'must' | 'may' | 'plain';
  isOver: boolean;
  reached: OnceEnd['reached'];
  /** Hashes of the requests that had their effect. */
  effects: string[];
  /** True if somebody was told that nothing has run, and nothing will. */
  saidNever: boolean;
  mayClose: boolean;
  mayDie: boolean;
  mayLose: boolean;
}
type Moves = [name: string, change: (copy: State) => void][];

class Violation extends Error {}

function isWorse(a: OnceEnd['reached'], b: OnceEnd['reached']): boolean {
  const ranks = ['no', 'maybe', 'yes'];
  return ranks.indexOf(a) > ranks.indexOf(b);
}

/** The rules of one world: what may happen in a state, and what must never. */
class Model {
  constructor(
    private readonly world: World,
    private readonly rules: Rules,
    private readonly seen: Set<string>,
  ) {}

  starts(): State[] {
    const { ownStores = false, foreign } = this.world;
    const stores = ownStores ? [{ scope: 's0' }, { scope: 't0' }] : [{ scope: 's0' }];
    const servers = ['a', 'b'].map((name, index) => ({ name, knows: stores[index % stores.length]!.scope }));
    const start = (scope: string | undefined): State => ({
      now: 0,
      stores,
      servers,
      sent: 0,
      attempts: [],
      progress: { ...(scope === undefined ? {} : { scope }), mayHaveRun: false, rescopes: 0 } as OnceProgress,
      next: 'must',
      isOver: false,
      reached: 'no',
      effects: [],
      saidNever: false,
      mayClose: this.world.closes === true,
      mayDie: this.world.calm !== true,
      mayLose: this.world.loses === true,
    });
    // A client that knows nothing of its servers, and one of whose earlier calls had asked.
    return foreign === undefined ? [start(undefined), start('s0')] : [start('any')];
  }

  /** What may happen in `state`, each as a change of a copy. */
  moves(state: State): Moves {
    const { world } = this;
    // What may follow may also follow while the client does not yet know the end, unless it has said something.
    if (state.isOver && !state.saidNever) return [];
    const moves: Moves = [];
    if (!state.isOver) this.clientMoves(state, moves);
    for (const [index, attempt] of state.attempts.entries())
      if (attempt.left > 0)
        for (const server of world.oldServer === true ? [0, 1, 2] : [0, 1])
          this.deliveries(index, server, attempt, moves);
    for (const [index, { run, name }] of state.servers.entries()) {
      if (run?.hasEffect === false && !run.hasFailed)
        moves.push([`effect at ${name}`, (copy) => this.work(copy, index)]);
      if (run !== undefined) moves.push([`end at ${name}`, (copy) => this.end(copy, index)]);
      if (state.mayDie && (run !== undefined || world.ownStores === true))
        moves.push([`death of ${name}`, (copy) => this.die(copy, index)]);
      if (state.mayClose && state.now < TTL) moves.push([`close at ${name}`, (copy) => this.close(copy, index)]);
    }
    const { released } = state;
    if (released !== undefined) moves.push(['release again', (copy) => this.releaseAgain(copy, released)]);
    if (state.mayLose) {
      moves.push(['loss of all', (copy) => this.lose(copy, undefined)]);
      if (state.stores[0]!.past !== undefined)
        moves.push(['loss of the newest', (copy) => this.lose(copy, copy.stores[0]!.past)]);
    }
    const later = INSTANTS.find((instant) => instant > state.now);
    if (later === undefined || (world.foreign !== undefined && later >= TTL)) return moves;
    const isRunning = state.servers.some(({ run }) => run !== undefined);
    if (isRunning) moves.push([`time ${String(later)}, with renewals`, (copy) => this.renew(copy, later)]);
    if (!isRunning || world.calm !== true) moves.push([`time ${String(later)}`, (copy) => (copy.now = later)]);
    return moves;
  }

  // ── the client ──

  private clientMoves(state: State, moves: Moves): void {
    const { hedges = false, attempts = 3 } = this.world;
    const open = state.attempts.filter((attempt) => attempt.isOpen);
    const mayHedge = hedges && open.length === 1 && open[0]!.scope !== '?' && open[0]!.path === 'once';
    if ((state.next !== undefined || mayHedge) && (state.sent < attempts || state.next === 'plain'))
      moves.push(['send', (copy) => this.send(copy)]);
    // A call that ends otherwise says nothing.
    if (open.length === 0 && state.reached === 'no') moves.push(['give up', (copy) => this.finish(copy, 'given up')]);
    for (const [index, attempt] of state.attempts.entries()) {
      if (!attempt.isOpen) continue;
      moves.push([`lose ${String(index)}`, (copy) => this.arrive(copy, index, {})]);
      for (const answer of attempt.answers)
        moves.push([
          `answer ${String(index)}: ${answer.mark ?? (answer.ok === true ? 'ok' : 'path refused')}`,
          (copy) => this.arrive(copy, index, answer),
        ]);
    }
  }

  private send(copy: State): void {
    const { foreign, twice } = this.world;
    const isPlain = copy.next === 'plain';
    const named = foreign === undefined ? { scope: copy.progress.scope ?? '?' } : {};
    copy.attempts.push({
      path: isPlain ? 'plain' : 'once',
      ...(isPlain ? {} : named),
      hash: foreign === 'differs' && copy.sent > 0 ? 'other' : 'h',
      left: twice === true && !isPlain ? 2 : 1,
      isOpen: true,
      answers: [],
    });
    copy.sent += 1;
    delete copy.next;
  }

  /** The end of an attempt arrives; an empty one means that its connection was lost. */
  private arrive(copy: State, index: number, { mark, ok = false, isPathRefused = false, scope }: Answer): void {
    const attempt = copy.attempts[index]!;
    attempt.isOpen = false;
    if (ok) {
      if (!copy.effects.includes(attempt.hash)) throw new Violation('a success without an effect');
      this.finish(copy, 'success');
      return;
    }
    if (mark === 'late' || mark === 'closed') this.sayNever(copy);
    if (attempt.path === 'plain' || this.world.foreign !== undefined) {
      copy.reached = 'maybe';
      if (attempt.path === 'plain' || mark === 'closed') this.finish(copy, mark ?? 'lost');
      else copy.next = 'may';
      return;
    }
    const isLost = mark === undefined && !isPathRefused;
    const end: OnceEnd = { mark, reached: isLost ? 'maybe' : 'yes', isPathRefused };
    const judgment = this.rules.judge(copy.progress, end, copy.now >= BEFORE);
    const { decision, reached } = judgment;
    const isInFlight = copy.attempts.some(({ isOpen }) => isOpen);
    const noted = isInFlight && this.rules.minds ? { ...judgment, decision: 'by-policy' as const } : judgment;
    copy.progress = this.rules.note(copy.progress, mark, noted, scope);
    if (isWorse(reached, copy.reached)) copy.reached = reached;
    this.seen.add(`${decision} after ${mark ?? (isLost ? 'a loss' : 'a refused path')}`);
    if (decision === 'final' || decision === 'in-doubt')
      this.finish(copy, decision === 'final' ? (mark ?? 'lost') : decision);
    // Beside an attempt in flight, no other one follows.
    else if (!isInFlight) copy.next = decision === 'plain' ? 'plain' : decision === 'rescope' ? 'must' : 'may';
  }

  private finish(copy: State, as: string): void {
    const isCutOff = copy.attempts.some(({ isOpen }) => isOpen);
    if (isCutOff && copy.reached === 'no' && this.rules.minds) copy.reached = 'maybe';
    copy.isOver = true;
    this.seen.add(`end: ${as}`);
    if (as === 'in-doubt' && this.world.calm === true && copy.now < TTL)
      throw new Violation('in doubt, and nothing was lost');
    if (copy.reached === 'no' && as !== 'success') this.sayNever(copy);
  }

  private sayNever(copy: State): void {
    if (copy.effects.length > 0) throw new Violation('told that nothing has run, after an effect');
    copy.saidNever = true;
  }

  // ── the servers ──

  private deliveries(index: number, server: number, { path, scope = '' }: Attempt, moves: Moves): void {
    const name = `deliver ${String(index)} (${path} ${scope}) to ${'abc'[server]!}`;
    const add = (how: 'works' | 'fails' | 'fails after it recorded'): void => {
      const deliver = (copy: State): void => {
        copy.attempts[index]!.left -= 1;
        this.deliver(copy, copy.attempts[index]!, server, how);
      };
      moves.push([how === 'works' ? name : `${name}, store ${how}`, deliver]);
    };
    add('works');
    if (this.world.fails !== true || path === 'plain' || scope === '?' || server === 2) return;
    add('fails');
    add('fails after it recorded');
  }

  private deliver(copy: State, attempt: Attempt, at: number, how: 'works' | 'fails' | 'fails after it recorded'): void {
    const { path, scope, hash, answers } = attempt;
    const server = copy.servers[at];
    if (path === 'plain') {
      this.effect(copy, hash);
      answers.push({ ok: true });
    } else if (server === undefined) answers.push({ isPathRefused: true });
    else if (scope !== undefined && scope !== server.knows) answers.push({ mark: 'elsewhere', scope: server.knows });
    else if (server.run !== undefined) {
      if (server.run.hash !== hash) answers.push({ mark: 'mismatch' });
      else if (attempt.at !== at) Object.assign(attempt, { at, leads: false });
    } else {
      const owner = server.unlearnt ?? this.newOwner(copy, server.name);
      const before = this.world.foreign === undefined ? BEFORE : Infinity;
      if (how !== 'works') {
        server.unlearnt = owner;
        answers.push({ mark: 'not-run' });
        if (how === 'fails') return;
      } else delete server.unlearnt;
      const reply = this.apply(copy, at, { type: 'attempt', hash, owner, before, scope });
      if (how !== 'works') return;
      if (reply.is === 'begin' || (reply.is === 'running' && reply.own)) {
        server.run = { hash, owner, hasEffect: false, hasFailed: false };
        Object.assign(attempt, { at, leads: true });
      } else if (reply.is === 'elsewhere') {
        server.knows = this.storeOf(copy, at).scope;
        answers.push({ mark: 'elsewhere', scope: server.knows });
      } else answers.push(answerOf(reply, 'replayed'));
    }
  }

  private work(copy: State, at: number): void {
    const run = copy.servers[at]!.run!;
    const commit = { type: 'commit', owner: run.owner, end: END } as const;
    run.hasEffect = this.world.commits !== true || this.apply(copy, at, commit).is === 'recorded';
    run.hasFailed = !run.hasEffect;
    if (run.hasEffect) this.effect(copy, run.hash);
  }

  /** The handler ends: with its effect, or it has done nothing. */
  private end(copy: State, at: number): void {
    const server = copy.servers[at]!;
    const { hasEffect, owner, hash } = server.run!;
    delete server.run;
    if (this.world.repeats === true && !hasEffect) copy.released = owner;
    const reply = this.apply(copy, at, hasEffect ? { type: 'end', owner, end: END } : { type: 'release', owner });
    const isElsewhere = reply.is === 'running' || reply.is === 'in-doubt' || reply.is === 'done';
    const answer = reply.is === 'done' && reply.hash !== hash ? { mark: 'mismatch' as const } : answerOf(reply, 'kept');
    for (const attempt of copy.attempts.filter((one) => one.at === at)) {
      const { leads = false } = attempt;
      leave(attempt);
      // One that has joined begins by itself.
      if (!hasEffect && !leads) attempt.left += 1;
      else if (isElsewhere) attempt.answers.push(answer);
      else attempt.answers.push(hasEffect ? { mark: 'kept', ok: true } : { mark: 'released' });
    }
  }

  private renew(copy: State, now: number): void {
    copy.now = now;
    for (const [at, { run }] of copy.servers.entries())
      if (run !== undefined) this.apply(copy, at, { type: 'renew', owner: run.owner });
  }

  private die(copy: State, at: number): void {
    const server = copy.servers[at]!;
    copy.mayDie = false;
    delete server.run;
    delete server.unlearnt;
    for (const attempt of copy.attempts) if (attempt.at === at) leave(attempt);
    if (this.world.ownStores !== true) return;
    copy.stores[at] = { scope: `${copy.stores[at]!.scope}'` };
    server.knows = copy.stores[at].scope;
  }

  private close(copy: State, at: number): void {
    copy.mayClose = false;
    if (copy.servers[at]!.run !== undefined) return;
    const reply = this.apply(copy, at, { type: 'ask', close: true });
    this.seen.add(`close: ${reply.is}`);
    if (reply.is === 'closed') this.sayNever(copy);
  }

  // ── the stores ──

  private newOwner(copy: State, name: string): string {
    const known = JSON.stringify([copy.stores, copy.servers, copy.released]);
    return this.rules.ownsByRun ? ['1', '2', '3', '4', '5'].find((one) => !known.includes(`"${one}"`))! : name;
  }

  private releaseAgain(copy: State, owner: string): void {
    delete copy.released;
    this.apply(copy, 0, { type: 'release', owner });
  }

  private storeOf(copy: State, at: number): State['stores'][number] {
    return copy.stores[at % copy.stores.length]!;
  }

  private apply(copy: State, at: number, event: OnceEvent): OnceReply {
    const store = this.storeOf(copy, at);
    const { commits = false } = this.world;
    const times: OnceTimes = { now: copy.now, leaseMs: LEASE, ttlMs: TTL, commits, scope: store.scope };
    const { record, reply } = this.rules.next(store.record, event, times);
    if (this.world.loses === true && copy.mayLose && record !== store.record) {
      if (store.record === undefined) delete store.past;
      else store.past = store.record;
    }
    if (record === undefined) delete store.record;
    else store.record = record;
    return reply;
  }

  private lose(copy: State, record: OnceRecord | undefined): void {
    copy.mayLose = false;
    copy.stores[0] = { scope: `${copy.stores[0]!.scope}'`, ...(record === undefined ? {} : { record }) };
  }

  private effect(copy: State, hash: string): void {
    if (copy.saidNever) throw new Violation('an effect after somebody was told that nothing has run');
    copy.effects.push(hash);
    if (copy.effects.length > 1) throw new Violation('two effects');
  }
}

function leave(attempt: Attempt): void {
  delete attempt.at;
  delete attempt.leads;
}

function answerOf(reply: OnceReply, mark: OnceMark): Answer {
  // Safe cast: other replies are marks, and the rest never answers a request.
  return reply.is === 'done' ? { mark, ok: true } : { mark: reply.is as OnceMark };
}

/** Writes a state without what no longer matters, and servers of one store in one order, so that fewer states differ. */
function keyOf(state: State): string {
  const { servers, stores, isOver } = state;
  // Owners are named by where they occur, so that equal states have equal names.
  const records = stores.flatMap((store) => [store.record, store.past]);
  const owners = records.map((record) => (record !== undefined && 'owner' in record ? record.owner : undefined));
  const places = (owner: string | undefined) => owner && [...owners, state.released].map((one) => one === owner);
  const views = servers.map(({ run, unlearnt, knows }) =>
    JSON.stringify([knows, { ...run, owner: places(run?.owner) }, places(unlearnt)]),
  );
  const order = stores.length === 1 && views[0]! > views[1]! ? [1, 0] : [0, 1];
  const names = new Map<string, string>();
  const nameOf = (owner: string | undefined): string | undefined => {
    const at = 'ab'.indexOf(owner ?? '?');
    if (owner !== undefined && !names.has(owner))
      names.set(owner, at === -1 ? String(names.size + 1) : 'ab'[order.indexOf(at)]!);
    return owner && names.get(owner);
  };
  const ordered = order.map((from, to) => {
    const { run, unlearnt, knows } = servers[from]!;
    const named = run && { ...run, owner: nameOf(run.owner)! };
    return { name: 'ab'[to]!, knows, run: named, unlearnt: nameOf(unlearnt) };
  });
  const instant = (time: number): number => INSTANTS.find((one) => one >= time) ?? NEVER;
  const renamed = (record: OnceRecord | undefined): OnceRecord | undefined => {
    if (record === undefined) return undefined;
    const known = { ...record, expiresAt: instant(record.expiresAt) };
    if ('leaseEndsAt' in known) Object.assign(known, { leaseEndsAt: instant(known.leaseEndsAt) });
    return 'owner' in known ? { ...known, owner: nameOf(known.owner)! } : known;
  };
  const attempts = state.attempts
    .filter(({ isOpen, left }) => (isOpen && !isOver) || left > 0)
    .map(({ at, ...one }) => {
      if (isOver || !one.isOpen) return { ...one, isOpen: false, answers: [], leads: undefined };
      return at === undefined ? one : { ...one, at: order.indexOf(at) };
    });
  const rest = JSON.stringify({
    ...state,
    ...(isOver ? { progress: undefined, reached: undefined, next: undefined, sent: undefined } : {}),
    stores: stores.map(({ scope, record, past }) => ({ scope, record: renamed(record), past: renamed(past) })),
    servers: ordered,
    released: nameOf(state.released),
    attempts: undefined,
  });
  const sorted = attempts.map((one) => JSON.stringify(one)).sort();
  return `${rest.slice(0, -1)},"attempts":[${sorted.join()}]}`;
}

interface Found {
  readonly seen: ReadonlySet<string>;
  /** The shortest way to a violation; `undefined` if there is none. */
  readonly violation: string | undefined;
}

/** Visits all states of a world, those in fewer steps first. */
function explore(world: World, rules: Rules = REAL): Found {
  const seen = new Set<string>();
  const model = new Model(world, rules, seen);
  /** Known states, each with the one before it, and the move between them. */
  const from = new Map(model.starts().map((start) => [keyOf(start), ['', 'start']]));
  for (const key of from.keys())
    for (const [name, change] of model.moves(JSON.parse(key) as State)) {
      const copy = JSON.parse(key) as State;
      try {
        change(copy);
      } catch (error) {
        if (!(error instanceof Violation)) throw error;
        const way = [`${name}: ${error.message}`];
        for (let at = key; at !== ''; at = from.get(at)![0]!) way.unshift(from.get(at)![1]!);
        return { seen, violation: way.join('\n') };
      }
      const next = keyOf(copy);
      if (!from.has(next)) from.set(next, [key, name]);
    }
  return { seen, violation: undefined };
}

const WORLDS = {
  'one store': { twice: true, closes: true, attempts: 2 },
  'one store, hedged': { hedges: true },
  'one store that commits': { twice: true, commits: true, closes: true, attempts: 2 },
  'a calm store': { calm: true, hedges: true, twice: true, attempts: 2 },
  'a store that fails': { fails: true, hedges: true },
  'a store that is told again': { repeats: true, calm: true },
  'a store that loses': { loses: true },
  'a store that loses, hedged': { loses: true, hedges: true, attempts: 2 },
  'a store that loses, and commits': { loses: true, commits: true, hedges: true, attempts: 2 },
  'a store for each server': { ownStores: true, hedges: true },
  'an old server': { oldServer: true, hedges: true },
  'an old server, and a store for each other': { oldServer: true, ownStores: true },
  'a client of another kind': { foreign: 'repeats', closes: true },
  'a client of another kind with two requests': { foreign: 'differs', commits: true, twice: true, attempts: 2 },
} as const satisfies Record<string, World>;

type Next = typeof nextOnce;
type Attempted = Extract<OnceEvent, { type: 'attempt' }>;
type Broken = readonly [keyof typeof WORLDS, Rules];
/** Replaces what the rule answers to events of one type, or does not if `change` returns nothing. */
function on<Type extends OnceEvent['type']>(
  world: keyof typeof WORLDS,
  type: Type,
  change: (
    record: OnceRecord | undefined,
    event: Extract<OnceEvent, { type: Type }>,
    times: OnceTimes,
  ) => ReturnType<Next> | undefined,
): Broken {
  const next: Next = (record, event, times) =>
    // Safe cast: the type is that of the event.
    (event.type === type ? change(record, event as Parameters<typeof change>[1], times) : undefined) ??
    nextOnce(record, event, times);
  return [world, { ...REAL, next }];
}
const onAttempt = (
  world: keyof typeof WORLDS,
  change: (record: OnceRecord | undefined, event: Attempted, times: OnceTimes) => Parameters<Next>,
): Broken => on(world, 'attempt', (...given) => nextOnce(...change(...given)));
const judging = (
  world: keyof typeof WORLDS,
  change: (progress: OnceProgress, end: OnceEnd) => OnceProgress,
): Broken => [world, { ...REAL, judge: (progress, end, isOver) => judgeOnce(change(progress, end), end, isOver) }];
const recorded = (record?: OnceRecord) => ({ record, reply: { is: 'recorded' } }) as const;
const closed = (record?: OnceRecord) => ({ record, reply: { is: 'closed' } }) as const;
const EMPTY: OnceRecord = { kind: 'closed', expiresAt: NEVER };
const ENDED: OnceRecord = { kind: 'done', hash: 'h', end: END, expiresAt: NEVER };
const lasts = (record: OnceRecord, now: number): boolean => record.kind !== 'running' || now < record.leaseEndsAt;

/** Rules without one of their reasons, each with a world in which that shows. */
const BROKEN: Record<string, Broken> = {
  'begins at any time': onAttempt('one store', (r, e, times) => [r, { ...e, before: Infinity }, times]),
  'begins again in doubt': onAttempt('one store', (r, e, times) => [r, e, { ...times, commits: true }]),
  'begins in any store': onAttempt('a store that loses', (r, e, times) => [r, { ...e, scope: undefined }, times]),
  'begins after a close': onAttempt('one store', (r, e, times) => [r?.kind === 'closed' ? undefined : r, e, times]),
  'forgets a record with its lease': onAttempt('one store', (r, e, times) => [
    r && lasts(r, times.now) ? r : undefined,
    e,
    times,
  ]),
  'answers another request': onAttempt('a client of another kind with two requests', (r, e, times) => [
    r,
    { ...e, hash: r !== undefined && 'hash' in r ? r.hash : e.hash },
    times,
  ]),
  'denies what it has forgotten': on('one store', 'attempt', (...given) => {
    const { record, reply } = nextOnce(...given);
    return record === undefined && reply.is === 'in-doubt' ? { record, reply: { is: 'late' } } : undefined;
  }),
  'closes without a record': on('one store', 'ask', (r, { close }) =>
    r === undefined && close ? closed() : undefined,
  ),
  'closes what runs': on('one store', 'ask', (_r, { close }) => (close ? closed(EMPTY) : undefined)),
  'forgets an end': on('one store', 'end', () => recorded()),
  'lets anybody commit': on('one store that commits', 'commit', () => recorded(ENDED)),
  'lets anybody release': on('one store that commits', 'release', () => recorded()),
  'lets anybody renew': on('one store that commits', 'renew', (_r, { owner }, { now }) =>
    recorded({ kind: 'running', hash: 'h', owner, leaseEndsAt: now + LEASE, expiresAt: now + TTL }),
  ),
  'names another store after an attempt may have run': judging('a store for each server', (progress, { mark }) => ({
    ...progress,
    mayHaveRun: progress.mayHaveRun && mark !== 'elsewhere',
  })),
  'takes its own path after an attempt may have run': judging('an old server', (progress, { isPathRefused }) => ({
    ...progress,
    scope: isPathRefused ? undefined : progress.scope,
    mayHaveRun: progress.mayHaveRun && !isPathRefused,
  })),
  'forgets that a lost attempt may have run': [
    'a store for each server',
    { ...REAL, note: (...given) => ({ ...noteOnce(...given), mayHaveRun: false }) },
  ],
  'says that a lost attempt reached nothing': [
    'one store',
    { ...REAL, judge: (...given) => ({ ...judgeOnce(...given), reached: 'no' }) },
  ],
  'lets the runs of one process own a key together': ['a store that is told again', { ...REAL, ownsByRun: false }],
  'does not mind the attempts in flight': ['a store for each server', { ...REAL, minds: false }],
};

describe('a write with a key', () => {
  const all = new Set<string>();

  it.each(Object.entries<World>(WORLDS))('has one effect, and nobody is told otherwise: %s', (_name, world) => {
    const { violation, seen } = explore(world);
    expect(violation).toBeUndefined();
    for (const one of seen) all.add(one);
  });

  it('met every decision and every end in these worlds', () => {
    const marks = 'a loss, a refused path, closed, elsewhere, in-doubt, late, not-run, released, running'.split(', ');
    const met = marks.map((mark) => [...all].filter((one) => one.endsWith(`after ${mark}`)).sort());
    expect(met.map((decisions) => decisions.map((one) => one.split(' ')[0]).join(' '))).toEqual([
      'by-policy final',
      'plain refused',
      'final',
      'in-doubt rescope',
      'final',
      'final',
      'by-policy final',
      'by-policy final',
      'wait',
    ]);
    const ends = [...all].filter((one) => one.startsWith('end: ')).sort();
    expect(ends.join(' ').replaceAll('end: ', '')).toBe('closed given up in-doubt late lost not-run released success');
  });

  // Only the store that has run a write can know of it.
  it.each<[string, World]>([
    ['a proxy repeats it by itself to servers without a common store', { ownStores: true, twice: true }],
    ['a proxy repeats it by itself while the store loses records', { loses: true, twice: true }],
    ['a proxy repeats it by itself while the store fails', { fails: true, twice: true }],
    ['another server is asked than that with its store', { ownStores: true, closes: true }],
    ['a store is asked that has lost its record', { loses: true, closes: true }],
  ])('is done twice, or wrongly denied, if %s', (_name, world) => {
    expect(explore(world).violation).toMatch(
      /: (two effects|told that nothing has run, after an effect|an effect after .*)$/,
    );
  });
});

describe('the explorer', () => {
  it.each(Object.entries(BROKEN))('finds a rule that %s', (_name, [world, rules]) => {
    expect(explore(WORLDS[world], rules).violation).toBeDefined();
  });
});
