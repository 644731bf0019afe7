import type { GrpcClientEvent } from '../../call/call-event.js';
import type { EjectionEvidence } from '../../policy/ejection/next-ejection.js';
import type { EventFields, LogFields } from './log-line.js';
import { counted, duration } from './log-text.js';

type EndpointEvent = Extract<GrpcClientEvent, { readonly type: 'endpoint' }>;

/** Describes an event of an endpoint: its ejection, an ejection that a limit prevented, its return, or a change of its health. */
export function endpointLine(
  event: EndpointEvent,
): readonly [level: 'debug' | 'log' | 'warn', text: string, fields: EventFields] {
  const { address, change } = event;
  const fields = { event: 'endpoint', change, address };
  switch (event.change) {
    case 'ejected': {
      const { evidence, forMs, ejections } = event;
      const text = `endpoint ${address} ejected for ${duration(forMs)}: ${evidenceText(evidence)}; calls use the other endpoints`;
      return ['warn', text, { ...fields, ...rounded(evidence), forMs: Math.round(forMs), ejections }];
    }
    case 'returned': {
      const { reason, ejectedMs } = event;
      const why = reason === 'panic' ? ', earlier than planned, because too few other endpoints are usable' : '';
      const text = `endpoint ${address} gets calls again ${duration(ejectedMs)} after its ejection${why}`;
      return ['log', text, { ...fields, reason, ejectedMs: Math.round(ejectedMs) }];
    }
    case 'spared': {
      const { evidence, limit } = event;
      const text = `endpoint ${address} not ejected (${limit}): ${evidenceText(evidence)}`;
      return ['debug', text, { ...fields, ...rounded(evidence), limit }];
    }
    case 'health': {
      const { from, to } = event;
      const [level, text] = HEALTH[to];
      // On a new connection, SERVING is the expected first report, so it is logged at debug level.
      const effectiveLevel = level === 'log' && from === 'pending' && to === 'serving' ? 'debug' : level;
      return [effectiveLevel, `endpoint ${address} ${text}`, { ...fields, from, to }];
    }
  }
}

const HEALTH = {
  pending: ['debug', 'has not reported its health yet'],
  serving: ['log', 'reports SERVING and gets calls'],
  'not-serving': ['log', 'does not report SERVING and gets no calls'],
  'unknown-service': [
    'warn',
    'reports the service in healthCheckConfig as unknown and gets no calls; write the full name of a service, as in the proto',
  ],
  unanswered: ['warn', 'does not respond to the health Watch and gets no calls'],
  failed: ['warn', 'ended the health Watch with an error and gets no calls; the Watch is repeated'],
  unimplemented: ['log', 'does not implement grpc.health.v1.Health and counts as serving'],
} as const;

function evidenceText(evidence: EjectionEvidence): string {
  switch (evidence.reason) {
    case 'consecutive-failures':
      return `${String(evidence.failures)} consecutive attempts failed`;
    case 'failure-percentage':
      return `${String(evidence.failures)} of ${counted(evidence.attempts, 'attempt')} failed`;
    case 'success-rate':
      return `${String(evidence.failures)} of ${counted(evidence.attempts, 'attempt')} failed, a larger share than at the other endpoints`;
    case 'latency':
      return `median latency ${duration(evidence.medianMs)}, versus ${duration(evidence.othersMs)} at the other endpoints`;
    case 'no-response':
      return `no response for ${duration(evidence.silentMs)} to ${counted(evidence.unanswered, 'attempt')}`;
  }
}

function rounded(evidence: EjectionEvidence): LogFields {
  return Object.fromEntries(
    Object.entries(evidence).map(([key, value]) => [
      key,
      typeof value === 'number' ? Math.round(value * 100) / 100 : value,
    ]),
  );
}
