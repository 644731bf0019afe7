import { expect, it } from 'vitest';
import type { TraceContexts } from '../../call/call-telemetry.js';
import { keepTraces, currentCallerContext } from './caller-context.js';

it('captures the trace context while at least one client is traced', () => {
  const mine = {};
  const contexts: TraceContexts = { active: () => mine, run: (_, work) => work() };
  // Defined only if this process has served an inbound call.
  const untraced = currentCallerContext();
  expect(untraced?.trace).toBeUndefined();
  const stops = [keepTraces(contexts), keepTraces(contexts)] as const;
  stops[0]();
  expect(currentCallerContext()).toEqual({ inbound: undefined, trace: mine });
  stops[1]();
  expect(currentCallerContext()).toEqual(untraced);
});
