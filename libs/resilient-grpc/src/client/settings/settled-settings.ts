import type { ResolvedClientSettings } from './resolved-settings.js';

/** Returns `settings` with the load balancing of the first live service config. A channel is created once and keeps it. */
export function withInitialServiceConfig(settings: ResolvedClientSettings): ResolvedClientSettings {
  const loadBalancing = settings.live?.config?.loadBalancingConfig;
  if (loadBalancing === undefined) return settings;
  return Object.freeze({ ...settings, channel: Object.freeze({ ...settings.channel, loadBalancing }) });
}
