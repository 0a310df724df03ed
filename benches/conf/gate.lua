-- A gate as scripts build it: a request that finds the app paused looks again, and again.
--
-- Kept in a shared dictionary: "paused", "held", and for the gate that keeps order the last ticket
-- given, the one whose turn it is, and the tickets that are done with.

local gate = ngx.shared.gate
local ordered = ngx.var.gate_order == "kept"
local interval = 0.05

if not gate:get("paused") and (not ordered or gate:get("held") == 0) then
    return
end

local ticket = ordered and gate:incr("last", 1)
local over = false

-- Of several that find a ticket done with, one moves the turn on: the one whose "add" succeeds.
local function move_on()
    local turn = gate:get("turn")
    while gate:get("done:" .. turn) and gate:add("passed:" .. turn, true, 60) do
        gate:delete("done:" .. turn)
        turn = gate:incr("turn", 1)
    end
end

local function leave()
    if not over then
        over = true
        gate:incr("held", -1)
        if ordered then
            gate:set("done:" .. ticket, true)
            move_on()
        end
    end
end

local function has_its_turn()
    return not ordered or gate:get("turn") == ticket
end

gate:incr("held", 1)
ngx.on_abort(function()
    leave()
    ngx.exit(499)
end)

while gate:get("paused") or not has_its_turn() do
    ngx.sleep(interval)
end
leave()
