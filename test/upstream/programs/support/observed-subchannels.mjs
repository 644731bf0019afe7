import grpc from '@grpc/grpc-js';

const { experimental } = grpc;

/** The subchannels of all channels whose service config is `OBSERVED`. Its load-balancing policy delegates to pick_first. */
export const subchannels = [];
export const OBSERVED = JSON.stringify({ loadBalancingConfig: [{ observed: {} }] });

class ObservedConfig {
  child = experimental.selectLbConfigFromList([{ pick_first: {} }]);
  getLoadBalancerName = () => 'observed';
  toJsonObject = () => ({ observed: {} });
  static createFromJson = () => new ObservedConfig();
}

class ObservedPolicy {
  constructor(helper) {
    this.child = new experimental.ChildLoadBalancerHandler(
      experimental.createChildChannelControlHelper(helper, {
        createSubchannel: (address, args) => {
          const subchannel = helper.createSubchannel(address, args);
          subchannels.push(subchannel);
          return subchannel;
        },
      }),
    );
  }
  updateAddressList = (endpoints, config, ...rest) => this.child.updateAddressList(endpoints, config.child, ...rest);
  exitIdle = () => this.child.exitIdle();
  resetBackoff = () => this.child.resetBackoff();
  destroy = () => this.child.destroy();
  getTypeName = () => 'observed';
}

experimental.registerLoadBalancerType('observed', ObservedPolicy, ObservedConfig);
