import { expect, it } from 'vitest';
import type { TraceContexts } from '../../call/trace-contexts.js';
import { keepTraces, originHere } from './caller-context.js';

it('keeps contexts for as long as one client is traced', () => {
  const mine = {};
  const contexts: TraceContexts = { active: () => mine, run: (_, work) => work() };
  // Something where an inbound call was ever served in this process, else nothing.
  const untraced = originHere();
  expect(untraced?.trace).toBeUndefined();
  const leave = [keepTraces(contexts), keepTraces(contexts)] as const;
  leave[0]();
  expect(originHere()).toEqual({ inbound: undefined, trace: mine });
  leave[1]();
  expect(originHere()).toEqual(untraced);
});
