import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { waitFor } from '../testing/wait-for.js';
import { markClosed, markOpen, openClients, type OpenClient } from './open-clients.js';

const client = (name: string): OpenClient => ({
  name,
  target: 'here:1',
  registry: Object.assign([], { isClosing: false }),
});
const names = () => openClients().map(({ name }) => name);

describe('open clients', () => {
  it('lists a client as open until it is closed', () => {
    const one = client('one');
    const mark = markOpen(one);
    expect(openClients()).toContain(one);
    markClosed(mark);
    expect(openClients()).not.toContain(one);
  });

  it('does not prevent the garbage collection of an unreferenced client', async () => {
    setFlagsFromString('--expose-gc');
    // Safe: the flag above adds `gc` to each new context.
    const collect = runInNewContext('gc') as () => void;
    markOpen(client('dropped'));
    expect(names()).toContain('dropped');
    await waitFor(() => {
      collect();
      return !names().includes('dropped');
    });
  });
});
