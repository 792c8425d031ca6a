// What planning the subnets of a network comes to, in either family.
import type { Network } from '../../crds/network.ts';

export type Subnet = NonNullable<NonNullable<Network['status']>['subnets']>[number];

/** A range that is taken, and by whom, in words for a message. */
export interface TakenRange<Range> {
  readonly range: Range;
  readonly holder: string;
}

/** The subnets of one family that a network has from now on, or why it gets none. */
export type SubnetPlan =
  | { readonly kind: 'allocated'; readonly subnets: Subnet[] }
  | {
      readonly kind: 'refused';
      readonly reason: 'InvalidSubnet' | 'SubnetOverlap' | 'PoolExhausted';
      readonly message: string;
    };
