import { z } from 'zod';
import { messageOf } from './errors.ts';
import { parseQuantity } from './quantity.ts';

/** A flag that takes a quantity (`2Gi`, `100k`), as a whole number that is not negative. */
export const quantityFlag = (initial: string) =>
  z
    .string()
    .default(initial)
    .transform((text, context) => {
      try {
        const amount = Math.ceil(parseQuantity(text));
        if (amount >= 0) return amount;
      } catch (error) {
        context.addIssue({ code: 'custom', message: messageOf(error) });
        return z.NEVER;
      }
      context.addIssue({ code: 'custom', message: 'must not be negative' });
      return z.NEVER;
    });
