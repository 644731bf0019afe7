import type { FailureReason } from '../errors/grpc-call-error.js';
import type { Verdict } from '../policy/evidence/verdict.js';

const REASONS: Readonly<Record<Verdict['kind'], FailureReason>> = {
  ok: 'protocol',
  unsent: 'outage',
  local: 'not-sent',
  refused: 'refused',
  'connection-lost': 'connection-lost',
  http: 'server',
  server: 'server',
  committed: 'server',
  deadline: 'deadline',
  'attempt-timeout': 'deadline',
  cancelled: 'cancelled',
  protocol: 'protocol',
  serialize: 'not-sent',
};

/** The reason a caller reads, for what became of the last attempt. */
export function failureReason(verdict: Verdict): FailureReason {
  return verdict.connectionLost ? 'connection-lost' : REASONS[verdict.kind];
}

const RANK = { no: 0, maybe: 1, yes: 2 } as const;

/** The further of two: what an earlier attempt reached stays reached. */
export function further(a: Verdict['reachedServer'], b: Verdict['reachedServer']): Verdict['reachedServer'] {
  return RANK[a] >= RANK[b] ? a : b;
}
