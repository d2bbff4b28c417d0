-- A ChangeTicket is healthy as a draft, when it has ended well, and when Git has brought back one whose window was over. Only one that waits for a person is suspended.
local health = { status = "Progressing", message = "the operator has not looked at it yet" }
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health
end
local people = { AwaitingApproval = true, AwaitingStart = true, AwaitingResult = true }
for _, condition in ipairs(obj.status.conditions or {}) do
  if condition.type == "Stalled" and condition.status == "True" then
    return { status = "Degraded", message = condition.reason .. ": " .. condition.message }
  elseif condition.type == "Ready" then
    health.message = condition.reason .. ": " .. condition.message
    if condition.status == "True" then
      health.status = "Healthy"
    elseif people[condition.reason] then
      health.status = "Suspended"
    end
  end
end
return health
