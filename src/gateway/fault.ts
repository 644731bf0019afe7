/** The faults that a visitor can cause. */
export const FAULTS = ['kill', 'keep-down', 'freeze', 'drain', 'slow', 'cut', 'start'] as const;
export type Fault = (typeof FAULTS)[number];

export function isFault(name: string): name is Fault {
  return (FAULTS as readonly string[]).includes(name);
}
