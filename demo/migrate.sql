-- From release 1 to release 2 of the shop: money in cents, times as seconds, a status, and an index over customers.
-- SQLite cannot change the type of a column, so the table is copied. Neither release can work in the meantime.

BEGIN IMMEDIATE;

CREATE TABLE orders_new (
    id           INTEGER PRIMARY KEY,
    ref          TEXT NOT NULL,
    customer     TEXT NOT NULL,
    amount_cents INTEGER NOT NULL,
    placed_at    INTEGER NOT NULL
);

INSERT INTO orders_new (id, ref, customer, amount_cents, placed_at)
SELECT id, ref, customer, CAST(round(amount * 100) AS INTEGER), CAST(strftime('%s', placed_at) AS INTEGER)
FROM orders;

DROP TABLE orders;
ALTER TABLE orders_new RENAME TO orders;
ALTER TABLE orders ADD COLUMN status TEXT NOT NULL DEFAULT 'placed';
CREATE INDEX orders_by_customer ON orders (customer, placed_at);

PRAGMA user_version = 2;

COMMIT;
