// The place of a Container before it is there: who creates one asks for it, and its creation is its binding too. That is
// one write and one way through every watch less than a binding afterwards.
import type { Container } from '../../crds/container.ts';
import type { Clock } from '../../lib/clock.ts';
import { keyOf } from '../runtime/object-key.ts';
import type { PlacementContext } from './filter.ts';
import type { Ledger } from './ledger.ts';
import { planPlacement } from './plan.ts';

/** A node that is kept for the Container until it is known what has become of it. */
export interface Place {
  readonly nodeName: string;
  /** Call it with the Container as the server has it, or with nothing when it was not created. */
  settle(created: Container | undefined): void;
}

/** Finds a place; undefined when there is none now: created without one, the Container is the scheduler's to explain. */
export type FindPlace = (draft: Container) => Place | undefined;

export interface PlaceDeps {
  readonly ledger: Ledger;
  readonly context: PlacementContext;
  readonly clock: Clock;
  /** False as long as not everything is known that decides about a place. */
  readonly isReady: () => boolean;
  readonly observeAttempt: (result: 'scheduled', seconds: number) => void;
}

/** A FindPlace over the scheduler's own ledger: the choice and its entry are one step, as in a binding. */
export function createFindPlace(deps: PlaceDeps): FindPlace {
  const { ledger, clock } = deps;
  return (draft) => {
    const key = keyOf(draft);
    // Something of that name is on a node as far as is known: its end has to be seen first.
    if (!deps.isReady() || draft.spec.nodeName !== undefined || ledger.claim(key)) return undefined;
    const startedAt = clock.now();
    const placement = planPlacement(draft, ledger.nodes(), deps.context);
    if (placement.kind !== 'bind') return undefined;
    const { nodeName } = placement;
    ledger.assume(draft, nodeName);
    deps.observeAttempt('scheduled', (clock.now() - startedAt) / 1000);
    return {
      nodeName,
      settle(created) {
        if (created?.spec.nodeName === undefined) return ledger.unassume(key);
        ledger.setContainer(created);
      },
    };
  };
}
