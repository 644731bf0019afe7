import { expect, it } from 'vitest';
import type { TraceContexts } from '../../call/call-telemetry.js';
import { keepTraces, originHere } from './caller-context.js';

it('captures the trace context while at least one client is traced', () => {
  const mine = {};
  const contexts: TraceContexts = { active: () => mine, run: (_, work) => work() };
  // Defined only if an inbound call was served in this process before.
  const untraced = originHere();
  expect(untraced?.trace).toBeUndefined();
  const stops = [keepTraces(contexts), keepTraces(contexts)] as const;
  stops[0]();
  expect(originHere()).toEqual({ inbound: undefined, trace: mine });
  stops[1]();
  expect(originHere()).toEqual(untraced);
});
