import type { ResolvedClientSettings } from './resolved-settings.js';

/** `settings` with what the first of their live service configs says of the channel, which is made only once. */
export function settledSettings(settings: ResolvedClientSettings): ResolvedClientSettings {
  const loadBalancing = settings.live?.config?.loadBalancingConfig;
  if (loadBalancing === undefined) return settings;
  return Object.freeze({ ...settings, channel: Object.freeze({ ...settings.channel, loadBalancing }) });
}
