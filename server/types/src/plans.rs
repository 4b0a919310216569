//! Plans: what they cost and how many credits they bring.

use diesel::deserialize::{FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{Output, ToSql};
use diesel::sql_types::Text;
use schemars::JsonSchema;
use serde::Serialize;

macro_rules! stored_word {
    ($(#[$doc:meta])* $name:ident as $schema:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
        #[derive(AsExpression, FromSqlRow)]
        #[diesel(sql_type = Text)]
        #[schemars(rename = $schema)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant,)*
        }

        impl $name {
            /// As answers and the database spell it.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl ToSql<Text, Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> diesel::serialize::Result {
                <str as ToSql<Text, Pg>>::to_sql(self.as_str(), out)
            }
        }

        impl FromSql<Text, Pg> for $name {
            fn from_sql(value: PgValue<'_>) -> diesel::deserialize::Result<Self> {
                match <String as FromSql<Text, Pg>>::from_sql(value)?.as_str() {
                    $($text => Ok($name::$variant),)*
                    other => Err(format!(
                        concat!("the database holds an unknown ", stringify!($name), ": {}"), other
                    )
                    .into()),
                }
            }
        }
    };
}

stored_word!(
    /// What an organization has subscribed to.
    Plan as "Plan" {
        /// Free; what every organization begins with.
        Starter = "STARTER",
        /// For one person.
        Pro = "PRO",
        /// For a team: a pool of credits that grows with its members.
        Team = "TEAM",
        /// For a large team.
        Enterprise = "ENTERPRISE",
    }
);

stored_word!(
    /// How often a plan is paid.
    Interval as "BillingInterval" {
        /// Every month.
        Monthly = "MONTHLY",
        /// Every year, for less.
        Annual = "ANNUAL",
    }
);

/// A price in US cents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// For the plan itself.
    pub base: u32,
    /// For each member.
    pub seat: u32,
}

impl Plan {
    /// The plans that can be bought.
    pub const PAID: [Plan; 3] = [Plan::Pro, Plan::Team, Plan::Enterprise];

    /// What a month costs, in US cents; STARTER costs nothing. A year is paid at once.
    pub fn monthly_price(self, interval: Interval) -> Price {
        let (base, seat) = match (self, interval) {
            (Plan::Starter, _) => (0, 0),
            (Plan::Pro, Interval::Monthly) => (2_000, 0),
            (Plan::Pro, Interval::Annual) => (1_600, 0),
            (Plan::Team, Interval::Monthly) => (4_900, 1_200),
            (Plan::Team, Interval::Annual) => (3_900, 1_000),
            (Plan::Enterprise, Interval::Monthly) => (19_900, 2_000),
            (Plan::Enterprise, Interval::Annual) => (15_900, 1_600),
        };
        Price { base, seat }
    }

    /// What is paid at once, in US cents.
    pub fn price(self, interval: Interval) -> Price {
        let Price { base, seat } = self.monthly_price(interval);
        let months = interval.months();
        Price { base: base * months, seat: seat * months }
    }

    /// Whether members cost something.
    pub fn has_seats(self) -> bool {
        matches!(self, Plan::Team | Plan::Enterprise)
    }

    /// How many units of the plan so many members are.
    pub fn quantity(self, members: u32) -> u32 {
        if self.has_seats() { members.max(1) } else { 1 }
    }

    /// The plan's product at Stripe.
    pub fn product_id(self) -> &'static str {
        match self {
            Plan::Starter => "switchy_starter",
            Plan::Pro => "switchy_pro",
            Plan::Team => "switchy_team",
            Plan::Enterprise => "switchy_enterprise",
        }
    }

    /// As invoices call it.
    pub fn product_name(self) -> &'static str {
        match self {
            Plan::Starter => "Switchy Starter",
            Plan::Pro => "Switchy Pro",
            Plan::Team => "Switchy Team",
            Plan::Enterprise => "Switchy Enterprise",
        }
    }
}

impl Interval {
    /// Both.
    pub const ALL: [Interval; 2] = [Interval::Monthly, Interval::Annual];

    /// Months from one payment to the next.
    pub fn months(self) -> u32 {
        match self {
            Interval::Monthly => 1,
            Interval::Annual => 12,
        }
    }

    /// As Stripe calls it.
    pub fn unit(self) -> &'static str {
        match self {
            Interval::Monthly => "month",
            Interval::Annual => "year",
        }
    }
}

/// Credits that a plan brings each month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Whatever the number of members.
    pub base: u32,
    /// For each member.
    pub per_seat: u32,
}

/// The pools of the plans, as the operator sets them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pools {
    /// STARTER.
    pub starter: Pool,
    /// PRO.
    pub pro: Pool,
    /// TEAM.
    pub team: Pool,
    /// ENTERPRISE.
    pub enterprise: Pool,
}

impl Default for Pools {
    fn default() -> Self {
        Pools {
            starter: Pool { base: 500, per_seat: 0 },
            pro: Pool { base: 3_000, per_seat: 0 },
            team: Pool { base: 8_000, per_seat: 1_000 },
            enterprise: Pool { base: 40_000, per_seat: 2_000 },
        }
    }
}

impl Pools {
    /// Credits a month for an organization of so many members.
    pub fn allotment(&self, plan: Plan, members: u32) -> i64 {
        let pool = match plan {
            Plan::Starter => self.starter,
            Plan::Pro => self.pro,
            Plan::Team => self.team,
            Plan::Enterprise => self.enterprise,
        };
        i64::from(pool.base) + i64::from(pool.per_seat) * i64::from(members)
    }
}

/// Fewest credits of one top-up.
pub const MIN_TOPUP: u32 = 100;
/// Most credits of one top-up.
pub const MAX_TOPUP: u32 = 1_000_000;
/// Credits that the price of a top-up is for.
pub const TOPUP_UNIT: u32 = 100;
/// US cents for [`TOPUP_UNIT`] credits, unless the operator says otherwise.
pub const TOPUP_PRICE: u32 = 100;

/// What so many credits cost, in US cents, rounded up.
pub fn topup_price(credits: u32, cents_per_unit: u32) -> u64 {
    (u64::from(credits) * u64::from(cents_per_unit)).div_ceil(u64::from(TOPUP_UNIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_team_of_five_pays_what_the_contract_says() {
        let monthly = Plan::Team.price(Interval::Monthly);
        assert_eq!((monthly.base, monthly.seat), (4_900, 1_200));
        let annual = Plan::Team.price(Interval::Annual);
        assert_eq!((annual.base, annual.seat), (12 * 3_900, 12 * 1_000));
        assert_eq!(Pools::default().allotment(Plan::Team, 5), 13_000);
    }

    #[test]
    fn a_year_costs_less_than_twelve_months() {
        for plan in Plan::PAID {
            let month = plan.price(Interval::Monthly);
            let year = plan.price(Interval::Annual);
            assert!(year.base < 12 * month.base && year.seat <= 12 * month.seat, "{plan}");
        }
    }

    #[test]
    fn no_top_up_is_below_what_a_card_can_be_charged() {
        assert!(topup_price(MIN_TOPUP, 50) >= 50);
        assert_eq!(topup_price(MIN_TOPUP, TOPUP_PRICE), 100);
        assert_eq!(topup_price(101, 50), 51);
        assert_eq!(topup_price(MAX_TOPUP, 10_000), 100_000_000);
    }
}
